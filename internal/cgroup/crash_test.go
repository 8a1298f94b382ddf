package cgroup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
)

// crashVar has the test program be a controller that is killed: "POINT PARENT RUNTIME".
const crashVar = "SMARTVM_CGROUP_CRASH"

func TestMain(m *testing.M) {
	var point, parent, runtime string
	if n, _ := fmt.Sscan(os.Getenv(crashVar), &point, &parent, &runtime); n == 3 {
		fmt.Fprintln(os.Stderr, crash(point, parent, runtime))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crash makes a group for a process, and is killed on the way.
func crash(point, parent, runtime string) error {
	killed := func(here string) {
		if here == point {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	led, err := ledger.Create(runtime, "vm")
	if err != nil {
		return err
	}
	g, err := cgroup.New(cgroup.Options{Name: "vm", Parent: parent})
	if err != nil {
		return err
	}
	err = led.Make(g, func() error {
		killed("recorded")
		if point == "parent" { // as Create does it, between two system calls
			if err := os.Mkdir(filepath.Join(g.Mount, parent), 0o755); err != nil {
				return err
			}
			killed("parent")
		}
		if err := g.Create(); err != nil {
			return err
		}
		killed("created")
		return nil
	})
	if err != nil {
		return err
	}
	dir, err := g.Open()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = proc.Start(proc.Spec{Path: "/bin/sh", Args: []string{"-c", crowd}, Dir: "/", Stdin: null, Stdout: null, Stderr: null, Cgroup: dir})
	killed("started")
	return errors.Join(err, errors.New("there is no point "+point))
}

func TestGroupOfAKilledControllerIsCollected(t *testing.T) {
	for _, point := range []string{"recorded", "parent", "created", "started"} {
		t.Run(point, func(t *testing.T) {
			s := newScene(t)
			s.parent = "smartvm-test-crash-" + point // without a slash
			runtime := t.TempDir()
			s.crash(point, runtime)
			kinds := ledger.Kinds{"cgroup": func() ledger.Resource { return &cgroup.Group{} }}
			led, err := ledger.Open(runtime, "vm", kinds)
			if err != nil {
				t.Fatal(err)
			}
			left := led.View().Resources
			if len(left) != 1 || left[0].Kind() != "cgroup" {
				t.Fatalf("on record: %v", left)
			}
			g, ok := left[0].(*cgroup.Group)
			if !ok || s.exists(g.Path) != (point == "created" || point == "started") || s.exists(s.parent) != (point != "recorded") {
				t.Fatalf("it was not killed at this point: %v", left)
			}
			if point == "started" {
				s.untilCrowded(g)
			}
			if err := errors.Join(led.Release(patient(t)), led.Destroy()); err != nil {
				t.Fatal(err)
			}
			if s.exists(g.Path) || s.exists(s.parent) {
				t.Errorf("%s is left", g.Path)
			}
		})
	}
}

func (s *scene) crash(point, runtime string) {
	s.t.Helper()
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(s.t.TempDir(), "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	p, err := proc.Start(proc.Spec{
		Path: program, Env: append(os.Environ(), crashVar+"="+point+" "+s.parent+" "+runtime), Dir: "/", Stdin: out, Stdout: out, Stderr: out,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := s.wait(p); got.Signal != int(unix.SIGKILL) {
		text, _ := os.ReadFile(out.Name())
		s.t.Fatalf("the controller ended with %s: %s", got, text)
	}
}
