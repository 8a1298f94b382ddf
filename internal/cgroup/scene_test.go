package cgroup_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pause"
	"github.com/smartvm/smartvm/internal/proc"
)

// patient bounds what waits for events.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// scene is a part of the host's tree that belongs to one test.
type scene struct {
	t      *testing.T
	mount  string
	parent string
	// controllers reports whether groups can have limits. Without, as on a hybrid host, they
	// can still be made, entered, emptied and removed.
	controllers bool
}

// newScene is for tests that do without limits.
func newScene(t *testing.T) *scene {
	t.Helper()
	hosttest.Need(t, hosttest.Root)
	tree, err := cgroup.Find()
	if err != nil || unix.Access(tree.Mount, unix.W_OK) != nil {
		hosttest.Need(t, hosttest.Cgroup)
		t.Skip("needs a cgroup2 file system that can be written: ", err)
	}
	hosttest.Residue(t)
	s := &scene{t: t, mount: tree.Mount, parent: "smartvm-test-" + strings.ToLower(t.Name())}
	s.controllers = tree.Check(cgroup.Limits{CPU: 1, Memory: 1, PIDs: 1, IO: []cgroup.DiskLimit{{}}}) == nil
	t.Cleanup(func() {
		if s.exists(s.parent) {
			t.Errorf("%s is left", s.parent)
		}
	})
	return s
}

// limitedScene is for tests of limits.
func limitedScene(t *testing.T) *scene {
	t.Helper()
	hosttest.Need(t, hosttest.Root, hosttest.Cgroup)
	return newScene(t)
}

func (s *scene) exists(path string) bool {
	s.t.Helper()
	_, err := os.Lstat(filepath.Join(s.mount, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return err == nil
}

func (s *scene) plan(o cgroup.Options) *cgroup.Group {
	s.t.Helper()
	if o.Parent == "" {
		o.Parent = s.parent
	}
	g, err := cgroup.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *scene) group(name string, l cgroup.Limits) *cgroup.Group {
	s.t.Helper()
	g := s.plan(cgroup.Options{Name: name, Limits: l})
	s.t.Cleanup(func() { s.release(g) })
	if err := g.Create(); err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *scene) release(g *cgroup.Group) {
	s.t.Helper()
	if err := g.Release(patient(s.t)); err != nil {
		s.t.Error(err)
	}
	if s.exists(g.Path) {
		s.t.Errorf("%s is left", g.Path)
	}
}

func (s *scene) file(g *cgroup.Group, name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.mount, g.Path, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (s *scene) status(g *cgroup.Group) *cgroup.Status {
	s.t.Helper()
	status, err := g.Status()
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// until looks at the group until what the test waits for has come.
func (s *scene) until(g *cgroup.Group, what string, come func(*cgroup.Status) bool) *cgroup.Status {
	s.t.Helper()
	ctx := patient(s.t)
	for {
		status := s.status(g)
		if come(status) {
			return status
		}
		if err := pause.For(ctx, 10*time.Millisecond); err != nil {
			s.t.Fatalf("%s: %v; status %+v", what, err, status)
		}
	}
}

// try starts a shell in the group; what it prints goes to out.
func (s *scene) try(g *cgroup.Group, script string, out *os.File) (*proc.Process, error) {
	s.t.Helper()
	dir, err := g.Open()
	if err != nil {
		s.t.Fatal(err)
	}
	defer dir.Close()
	return proc.Start(proc.Spec{Path: "/bin/sh", Args: []string{"-c", script}, Dir: "/", Stdin: out, Stdout: out, Stderr: out, Cgroup: dir})
}

func (s *scene) start(g *cgroup.Group, script string) *proc.Process {
	s.t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer null.Close()
	p, err := s.try(g, script, null)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := p.Kill(patient(s.t)); err != nil {
			s.t.Error(err)
		}
	})
	return p
}

func (s *scene) wait(p *proc.Process) proc.Status {
	s.t.Helper()
	select {
	case <-p.Done():
		return p.Status()
	case <-patient(s.t).Done():
		s.t.Fatal("the process does not end")
		return proc.Status{}
	}
}

func ended(p *proc.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// recorded is the group as another process finds it in a ledger.
func recorded(t *testing.T, g *cgroup.Group) *cgroup.Group {
	t.Helper()
	data, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var again cgroup.Group
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	return &again
}
