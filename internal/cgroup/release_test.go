package cgroup_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/cgroup"
)

// crowd is a family of processes that do not end by themselves, nor when asked: some
// are in sessions of their own, and one goes on forking.
const crowd = `trap '' TERM HUP
setsid sleep 1000 &
sleep 1000 &
while :; do sleep 0.1 & done`

func TestReleaseEndsAllThatIsInTheGroup(t *testing.T) {
	s := newScene(t)
	g := s.plan(cgroup.Options{Name: "vm", Parent: s.parent + "/a/b"})
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	p := s.start(g, crowd)
	outside := s.start(s.group("other", cgroup.Limits{}), "exec sleep 1000")
	s.untilCrowded(g)
	again := recorded(t, g)
	s.release(again)
	if got := s.wait(p); got.Signal != int(unix.SIGKILL) {
		t.Errorf("the process ended with %s", got)
	}
	if ended(outside) {
		t.Error("a process of another group has ended")
	}
	for _, path := range []string{"/a/b", "/a"} {
		if s.exists(s.parent + path) {
			t.Errorf("the parent %s is left", path)
		}
	}
	s.release(again) // and nothing is there any more
	if _, err := g.Status(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("status of a group that is gone: %v", err)
	}
}

// untilCrowded waits for some of the crowd.
func (s *scene) untilCrowded(g *cgroup.Group) {
	s.t.Helper()
	s.until(g, "there is no crowd", func(*cgroup.Status) bool { return len(strings.Fields(s.file(g, "cgroup.procs"))) > 5 })
}

func TestGroupIsEmptiedWithoutCgroupKill(t *testing.T) {
	s := newScene(t)
	g := s.group("vm", cgroup.Limits{})
	p := s.start(g, crowd)
	outside := s.start(s.group("other", cgroup.Limits{}), "exec sleep 1000")
	s.untilCrowded(g)
	if err := errors.Join(g.KillEach(patient(t)), g.AwaitEmpty(patient(t))); err != nil {
		t.Fatal(err)
	}
	if got := s.file(g, "cgroup.procs"); got != "" {
		t.Errorf("processes %q are left", got)
	}
	if got := s.wait(p); got.Signal != int(unix.SIGKILL) || ended(outside) {
		t.Errorf("the process ended with %s, the one outside: %t", got, ended(outside))
	}
}

func TestWaitForAnEmptyGroupEndsWithItsContext(t *testing.T) {
	s := newScene(t)
	g := s.group("vm", cgroup.Limits{})
	p := s.start(g, "exec sleep 1000")
	reason := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	waited := make(chan error)
	go func() { waited <- g.AwaitEmpty(ctx) }()
	cancel(reason)
	if err := <-waited; !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
	go func() { waited <- g.AwaitEmpty(patient(t)) }()
	if err := p.Kill(patient(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("after the last process: %v", err)
	}
}

func TestParentGoesWithTheLastGroupWhoeverMadeIt(t *testing.T) {
	s := newScene(t)
	first := s.group("first", cgroup.Limits{})
	second := s.group("second", cgroup.Limits{})
	s.release(first)
	if !s.exists(s.parent) {
		t.Fatal("the parent has gone with the first")
	}
	s.release(recorded(t, second))
	if s.exists(s.parent) {
		t.Error("the parent is left")
	}
}

func TestParentOfOthersStays(t *testing.T) {
	s := newScene(t)
	theirs := filepath.Join(s.mount, s.parent)
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(theirs); err != nil {
			t.Error(err)
		}
	})
	g := s.plan(cgroup.Options{Name: "vm", Parent: s.parent + "/ours"})
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	s.release(g)
	if !s.exists(s.parent) || s.exists(s.parent+"/ours") {
		t.Error("want that their parent stays, and ours goes")
	}
}

func TestGroupOfTheSameNameIsNotTouched(t *testing.T) {
	s := newScene(t)
	theirs := s.group("vm", cgroup.Limits{})
	p := s.start(theirs, "exec sleep 1000")
	ours := s.plan(cgroup.Options{Name: "vm"}) // and we die before it is made
	s.release(recorded(t, ours))
	otherBoot := recorded(t, theirs)
	otherBoot.BootID = "another"
	if err := otherBoot.Release(patient(t)); err != nil {
		t.Error(err)
	}
	if ended(p) || !s.exists(theirs.Path) {
		t.Error("the group of somebody else was touched")
	}
}

func TestRecordThatLeadsElsewhereIsRefused(t *testing.T) {
	s := newScene(t)
	g := s.group("vm", cgroup.Limits{})
	for _, path := range []string{"", ".", "..", "/", "/" + g.Path, "../" + g.Path, g.Path + "/.."} {
		bad := recorded(t, g)
		bad.Path = path
		if err := bad.Release(patient(t)); err == nil {
			t.Errorf("%q is released", path)
		}
	}
	elsewhere := recorded(t, g)
	elsewhere.Mount = t.TempDir()
	if err := elsewhere.Release(patient(t)); err == nil {
		t.Error("a directory that is no tree of groups is taken for one")
	}
	if !s.exists(g.Path) {
		t.Error("the group is gone")
	}
}

// Parents come and go with groups that are made and released at the same time.
func TestGroupsAreMadeAndReleasedTogether(t *testing.T) {
	s := newScene(t)
	limits := cgroup.Limits{}
	if s.controllers {
		limits = cgroup.Limits{CPU: 1, Memory: 1 << 30, PIDs: 10}
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 12 {
				g, err := cgroup.New(cgroup.Options{Name: "vm" + strconv.Itoa(i), Parent: s.parent + "/a/b", Limits: limits})
				if err != nil {
					t.Error(err)
					return
				}
				if err := g.Create(); err != nil {
					t.Error(err)
				}
				if status, err := g.Status(); err != nil || status.Limits.PIDs != limits.PIDs {
					t.Errorf("status %+v, %v", status, err)
				}
				if err := recorded(t, g).Release(patient(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
