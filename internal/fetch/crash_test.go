package fetch_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
	"github.com/smartvm/smartvm/internal/proc"
)

// killed runs the fetcher as far as its nth point, and reports whether it was
// killed there and which point that was.
func (s *scene) killed(program string, src fetch.Source, n int) (point string, killed bool) {
	s.Helper()
	return faulttest.Run(s, n, proc.Command{Path: program, Args: []string{s.dir.Name(), "name", src.URL, src.SHA256}})
}

func TestKillAtEveryPointLeavesNothingHalfAndTheNextCallRepairs(t *testing.T) {
	t.Parallel()
	program := faulttest.Build(t, "testdata/fetcher")
	local := randomBytes(100) // one piece, so that the points are the same each time
	path := writeFile(t, local)
	for name, known := range map[string]bool{"with a hash": true, "without": false} {
		for _, scheme := range []string{"http", "file"} {
			t.Run(name+" by "+scheme, func(t *testing.T) {
				t.Parallel()
				seen := map[string]bool{}
				for n := 1; ; n++ {
					s := newScene(t)
					s.site.Put("/file", local)
					src := fetch.Source{URL: s.site.URL("/file")}
					if scheme == "file" {
						src.URL = fileURL(path)
					}
					if known {
						src.SHA256 = hashOf(local)
					}
					point, killed := s.killed(program, src, n)
					if !killed {
						break
					}
					seen[point] = true
					got, err := s.dir.ReadFile("name")
					if whole := err == nil && bytes.Equal(got, local); !whole && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("killed at %q: the name has %d bytes, %v", point, len(got), err)
					}
					s.mustFile(src, local)
				}
				for _, point := range []string{"part locked", "record written", "content written", "content synced", "part renamed", "record removed"} {
					reflink := scheme == "file" && point == "content written" // some file systems write nothing
					if !seen["fetch: "+point] && !reflink {
						t.Errorf("never killed at %q", point)
					}
				}
			})
		}
	}
}

func TestProcessThatIsKilledIsResumedByTheNext(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := newScene(t)
		data, src := s.put(size)
		if !known {
			src = unknown(src)
		}
		s.site.Misbehave("/file", fetchtest.Fault{Stall: true, StallAfter: 600, Times: 1})
		cmd, _ := s.child(src)
		s.until("half of it is there", func() bool { return s.partSize() == 600 })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s.wantNames(".name.part .name.part.json")
		s.mustFile(src, data)
		if ranges := s.ranges(); len(ranges) != 2 || ranges[1] != "bytes=600-" {
			t.Errorf("asked for %q", ranges)
		}
	}
}

// One waits for the other, which is killed: the lock goes with it.
func TestWaitingProcessGoesOnWhenTheFirstIsKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Stall: true, StallAfter: 600, Times: 1})
	first, _ := s.child(src)
	s.until("half of it is there", func() bool { return s.partSize() == 600 })
	second := s.waitingChild(src)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	s.wantContent(data)
	s.wantNames("name")
	if ranges := s.ranges(); len(ranges) != 2 || ranges[1] != "bytes=600-" {
		t.Errorf("asked for %q", ranges)
	}
}
