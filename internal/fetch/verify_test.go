package fetch_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestWrongContentIsFetchedOnceMore(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fetchtest.Fault{
		"one bit":         {Corrupt: true},
		"another file":    {Replace: randomBytes(2 * size)[size:]},
		"too short":       {Short: 1},
		"not said short":  {Short: 1, NoLength: true},
		"too long":        {Replace: randomBytes(size + 1)},
		"not said longer": {Replace: randomBytes(size + 1), NoLength: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			data, src := s.put(size)
			fault.Times = 1
			s.site.Misbehave("/file", fault)
			s.mustFile(src, data)
			if diff := cmp.Diff([]string{"", ""}, s.ranges()); diff != "" {
				t.Error(diff)
			}
			if header := s.site.Headers("/file")[1]; header.Get("Cache-Control") != "no-cache" {
				t.Errorf("asked again with %v", header)
			}
			fault.Times = 0
			s.site.Misbehave("/file", fault)
			if err := s.dir.Remove("name"); err != nil {
				t.Fatal(err)
			}
			e := s.wantError(src, errcode.DownloadFailed)
			fields := map[string]string{}
			for _, d := range e.Details {
				fields[d.Field] = d.Message
			}
			if fields["want"] == "" || fields["got"] == "" || fields["want"] == fields["got"] || !strings.Contains(e.Error(), fields["want"]) {
				t.Errorf("got %v with %v", e, e.Details)
			}
			s.wantNames("")
			if n := s.site.Requests("/file"); n != 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestWrongHashNamesBoth(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	src.SHA256 = strings.Repeat("0", 64)
	e := s.wantError(src, errcode.DownloadFailed)
	want := []errcode.Detail{{Field: "want", Message: src.SHA256}, {Field: "got", Message: hashOf(data)}}
	if diff := cmp.Diff(want, e.Details); diff != "" {
		t.Error(diff)
	}
}

func TestContentWithoutALengthIsTakenToItsEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{NoLength: true})
	s.mustFile(src, data)
	s.mustFile(unknown(src), data)
}

func TestTooMuchContentIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault fetchtest.Fault
		sets  int // how often progress was told of content
	}{
		"as the server says at once": {fetchtest.Fault{}, 0},
		"as it turns out":            {fetchtest.Fault{NoLength: true}, 5},
		"endless":                    {fetchtest.Fault{Endless: true}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, src := s.put(2 << 20)
			s.site.Misbehave("/file", tt.fault)
			e := s.wantError(fetch.Source{URL: src.URL, MaxSize: 1 << 20}, errcode.DownloadFailed)
			if !strings.Contains(e.Error(), "limit of 1048576 bytes") {
				t.Errorf("got %v", e)
			}
			s.wantNames("")
			if n := s.site.Requests("/file"); n != 1 {
				t.Errorf("%d requests", n)
			}
			for _, set := range s.told.sets {
				if set[0] > 1<<20 || tt.sets == 0 && set[0] > 0 {
					t.Errorf("took %d bytes", set[0])
				}
			}
		})
	}
}

func TestEndlessContentIsRefusedAtTheSizeThatIsKnown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Endless: true})
	if e := s.wantError(src, errcode.DownloadFailed); !strings.Contains(e.Error(), "want 1000 bytes") {
		t.Errorf("got %v", e)
	}
	s.wantNames("")
}

func TestLimitOfTheExactSizeIsEnough(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	for _, fault := range []fetchtest.Fault{{}, {NoLength: true}} {
		s.site.Misbehave("/file", fault)
		s.mustFile(fetch.Source{URL: src.URL, MaxSize: size}, data)
	}
}

func TestEncodedContentIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Encoding: "gzip"})
	if e := s.wantError(src, errcode.DownloadFailed); !strings.Contains(e.Error(), "encoded") {
		t.Errorf("got %v", e)
	}
	if n := s.site.Requests("/file"); n != 1 {
		t.Errorf("%d requests", n)
	}
	s.wantNames("")
	s.site.Misbehave("/file", fetchtest.Fault{Encoding: "identity"})
	s.mustFile(src, data)
}
