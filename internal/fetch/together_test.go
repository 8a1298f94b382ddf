package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// gate holds back the content of answers until it is opened.
type gate struct {
	transport http.RoundTripper
	opened    chan struct{}
}

func (g gate) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := g.transport.RoundTrip(r)
	if err == nil {
		answer.Body = gatedBody{answer.Body, g.opened}
	}
	return answer, err
}

type gatedBody struct {
	io.ReadCloser
	opened chan struct{}
}

func (b gatedBody) Read(p []byte) (int, error) {
	<-b.opened
	return b.ReadCloser.Read(p)
}

const waiting = "waiting for another download"

// hold starts a download that has its record and waits for its content.
func (s *scene) hold(src fetch.Source) (open func(), result chan error) {
	s.Helper()
	g := gate{s.options.Transport, make(chan struct{})}
	options := s.options
	options.Transport = g
	result = make(chan error, 1)
	go func() {
		_, err := fetch.New(options).File(s.Context(), src, s.dir, "name")
		result <- err
	}()
	s.until("begun", func() bool {
		info, err := s.dir.Lstat(".name.part.json") // which is written at once
		return err == nil && info.Size() > 0
	})
	return sync.OnceFunc(func() { close(g.opened) }), result
}

func TestConcurrentCallersShareOneDownload(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := newScene(t)
		data, src := s.put(size)
		if !known {
			src = unknown(src)
		}
		open, first := s.hold(src)
		const others = 10
		results := make([]fetch.Result, others)
		var group sync.WaitGroup
		for i := range results {
			group.Go(func() {
				result, err := s.file(src)
				if err != nil {
					t.Error(err)
				}
				results[i] = result
			})
		}
		s.until("all wait", func() bool { return strings.Count(s.log.String(), waiting) == others })
		open()
		group.Wait()
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		for _, result := range results {
			if diff := cmp.Diff(results[0], result); diff != "" || result.SHA256 != hashOf(data) || result.ETag == "" || result.URL != src.URL {
				t.Errorf("got %+v %s", result, diff)
			}
		}
		s.wantContent(data)
		s.wantNames("name")
		if n := s.site.Requests("/file"); n != 1 {
			t.Errorf("known %t: %d requests", known, n)
		}
	}
}

func TestAnotherURLOfTheSameHashIsSharedToo(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	open, first := s.hold(unknown(src)) // of which only the content tells that it is the same
	second := make(chan error, 1)
	go func() {
		src := src
		src.URL += "?mirror"
		_, err := s.file(src)
		second <- err
	}()
	s.until("waits", func() bool { return strings.Contains(s.log.String(), waiting) })
	open()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Fatal(err)
	}
	s.wantContent(data)
	if n := s.site.Requests("/file"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestFileOfAnotherSourceIsNotShared(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := newScene(t)
		_, src := s.put(size)
		other := randomBytes(2 * size)[size:]
		s.site.Put("/other", other)
		want := source(s.site.URL("/other"), other)
		if !known {
			want = unknown(want)
		}
		open, first := s.hold(src)
		second := make(chan error, 1)
		go func() {
			_, err := s.file(want)
			second <- err
		}()
		s.until("waits", func() bool { return strings.Contains(s.log.String(), waiting) })
		open()
		if err := errors.Join(<-first, <-second); err != nil {
			t.Fatal(err)
		}
		s.wantContent(other)
		s.wantNames("name")
	}
}

func TestWaitingCallerTakesOverWhatTheFirstOneLeaves(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Stall: true, StallAfter: 600, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.fileCtx(ctx, src)
		first <- err
	}()
	s.until("begun", func() bool { return s.partSize() == 600 })
	go func() {
		_, err := s.file(src)
		second <- err
	}()
	s.until("waits", func() bool { return strings.Contains(s.log.String(), waiting) })
	cancel()
	if err := <-first; !errors.Is(err, errcode.Cancelled) {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	s.wantContent(data)
	s.wantNames("name")
	if diff := cmp.Diff([]string{"", "bytes=600-"}, s.ranges()); diff != "" {
		t.Error(diff)
	}
}

func TestWaitingCallerTriesWhenTheFirstOneFails(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	wrong := src
	wrong.SHA256 = strings.Repeat("0", 64)
	open, first := s.hold(wrong)
	second := make(chan error, 1)
	go func() {
		_, err := s.file(src)
		second <- err
	}()
	s.until("waits", func() bool { return strings.Contains(s.log.String(), waiting) })
	open()
	if err := <-first; !errors.Is(err, errcode.DownloadFailed) {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	s.wantContent(data)
	s.wantNames("name")
}

func TestWaitForAnotherCallerEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	open, first := s.hold(src)
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := s.fileCtx(ctx, src)
		second <- err
	}()
	s.until("waits", func() bool { return strings.Contains(s.log.String(), waiting) })
	cancel()
	if err := <-second; !errors.Is(err, errcode.Cancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	open()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	s.wantContent(data)
	s.wantNames("name")
}

func TestProcessesShareOneDownload(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := newScene(t)
		data, src := s.put(size)
		if !known {
			src = unknown(src)
		}
		open, first := s.hold(src)
		second := s.waitingChild(src)
		open()
		if err := errors.Join(<-first, second.Wait()); err != nil {
			t.Fatalf("%v: %s", err, second.Stdout)
		}
		if got := fmt.Sprint(second.Stdout); !strings.HasPrefix(got, hashOf(data)+` "`) {
			t.Errorf("got %s", got)
		}
		s.wantContent(data)
		s.wantNames("name")
		if n := s.site.Requests("/file"); n != 1 {
			t.Errorf("known %t: %d requests", known, n)
		}
	}
}

// waitingChild starts a process and returns when that waits for the part.
func (s *scene) waitingChild(src fetch.Source) *exec.Cmd {
	s.Helper()
	cmd, log := s.child(src)
	s.until("the child waits", func() bool { return strings.Contains(log.String(), waiting) })
	return cmd
}

// Every caller brings the file, whoever comes when.
func TestManyCallersOfTwoSourcesNeverMixThem(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	contents := [][]byte{randomBytes(300 << 10), randomBytes(900 << 10)[600<<10:]}
	s.site.Put("/0", contents[0])
	s.site.Put("/1", contents[1])
	urls := []string{s.site.URL("/0"), s.site.URL("/1")}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for round := range 15 {
				k := (i + round) % 2
				result, err := s.file(fetch.Source{URL: urls[k]})
				if err != nil || result.SHA256 != hashOf(contents[k]) {
					t.Errorf("got %+v, %v", result, err)
				}
				got, err := s.dir.ReadFile("name")
				if sum := hashOf(got); err != nil || sum != hashOf(contents[0]) && sum != hashOf(contents[1]) {
					t.Errorf("%d bytes of neither, %v", len(got), err)
				}
			}
		})
	}
	group.Wait()
	s.wantNames("name")
}
