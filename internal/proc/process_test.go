package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	return startSpec(t, Spec{Path: "/bin/sh", Args: []string{"-c", script}})
}

// openNull is what a process may read and write that does neither.
func openNull(t *testing.T) *os.File {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	return null
}

func startSpec(t *testing.T, s Spec) *Process {
	t.Helper()
	null := openNull(t)
	s.Dir, s.Stdin, s.Stdout, s.Stderr = "/", null, null, null
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestTiedProcessEndsWithTheThreadThatStartedIt(t *testing.T) {
	t.Parallel()
	null := openNull(t)
	started, over := make(chan *Process, 1), make(chan struct{})
	defer close(over)
	var begin func()
	begin = func() {
		runtime.LockOSThread()            // and not unlocked, so that the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() { // the first thread, which the runtime keeps
			go begin()
			<-over // so that nobody else gets it
			runtime.UnlockOSThread()
			return
		}
		p, err := Start(Spec{Path: "/bin/sleep", Args: []string{"1000"}, Dir: "/", Stdin: null, Stdout: null, Stderr: null, Tied: true})
		if err != nil {
			t.Error(err)
		}
		started <- p
	}
	go begin()
	p := <-started
	if p == nil {
		return
	}
	if got := wait(t, p); got.Signal != int(unix.SIGKILL) {
		t.Errorf("it ended with %s", got)
	}
}

// That it works is shown where there are groups: see package cgroup.
func TestCgroupIsWhereTheProcessIsStarted(t *testing.T) {
	t.Parallel()
	null := openNull(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, err = Start(Spec{Path: "/bin/true", Dir: "/", Stdin: null, Stdout: null, Stderr: null, Cgroup: dir})
	if !errors.Is(err, unix.EBADF) { // the kernel's word for what is no group
		t.Errorf("start in a directory that is no group: %v, want EBADF", err)
	}
}

func wait(t *testing.T, p *Process) Status {
	t.Helper()
	select {
	case <-p.Done():
		return p.Status()
	case <-time.After(10 * time.Second):
		t.Fatal("the process does not end")
		return Status{}
	}
}

func TestStatusSaysHowAChildEnded(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]Status{
		"exit 0":      {Known: true},
		"exit 7":      {Known: true, Code: 7},
		"kill -9 $$":  {Known: true, Signal: 9},
		"kill -15 $$": {Known: true, Signal: 15},
	} {
		if got := wait(t, start(t, script)); got != want {
			t.Errorf("%s: %+v, want %+v", script, got, want)
		}
	}
}

func TestEndedChildIsReaped(t *testing.T) {
	t.Parallel()
	p := start(t, "exit 0")
	wait(t, p)
	if _, err := identifyPID(p.ID().PID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("identify = %v, want that it is gone", err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Errorf("signal to an ended process: %v", err)
	}
}

func TestChildHasOnlyTheEnvironmentItIsGiven(t *testing.T) {
	t.Parallel()
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Path: "/usr/bin/env", Env: []string{"A=b"}, Dir: "/", Stdin: out, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := "A=b\n"; string(got) != want {
		t.Errorf("child sees %q, want %q", got, want)
	}
}

// A process of another parent: sh starts it in the background and ends.
func orphan(t *testing.T) ID {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo -n $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, c := range out {
		pid = pid*10 + int(c-'0')
	}
	id, err := identifyPID(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOpenWatchesAForeignProcess(t *testing.T) {
	t.Parallel()
	p, err := Open(orphan(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Whether its parent has reaped it by now or not, one of two ways must find
	// the status; only a kernel before 6.15 may know neither.
	if got := p.Status(); got.Signal != 9 && (got.Known || pidfdInfoKnown(t)) {
		t.Errorf("status %+v, want signal 9", got)
	}
}

// pidfdInfoKnown reports whether this kernel tells the status of foreign processes.
func pidfdInfoKnown(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}

func TestForgetLeavesAForeignProcessAlone(t *testing.T) {
	t.Parallel()
	id := orphan(t)
	p, err := Open(id)
	if err != nil {
		t.Fatal(err)
	}
	p.Forget()
	again, err := Open(id)
	if err != nil {
		t.Fatalf("it did not survive: %v", err)
	}
	if err := again.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesARecycledPID(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 1000")
	old, err := identify(p.ID().PID, -1, false) // of a kernel, or a smartvm, before there were inodes
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(old)
	if err != nil {
		t.Fatalf("Open(%+v): %v", old, err)
	}
	again.Forget()
	older := old
	older.StartTime--
	if _, err := Open(older); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(%+v) = %v, want that it is gone", older, err)
	}
	for _, change := range []func(*ID){
		func(id *ID) { id.Inode, id.StartTime = id.Inode-1, id.StartTime-1 },
		func(id *ID) { id.BootID = "another" },
		func(id *ID) { id.PID = 0 },
	} {
		id := p.ID()
		change(&id)
		if _, err := Open(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%+v) = %v, want that it is gone", id, err)
		}
	}
}

func TestReleaseFindsAProcessWhoseIDWasNeverWritten(t *testing.T) {
	t.Parallel()
	in, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	file, err := Identify(in)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Path: "/bin/sleep", Args: []string{"1000"}, Dir: "/", Stdin: in, Stdout: in, Stderr: in})
	if err != nil {
		t.Fatal(err)
	}
	r := &Resource{Role: "test", Stdin: file}
	if err := r.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, p); got.Signal != 9 {
		t.Errorf("status %v, want killed", got)
	}
	if err := r.Release(t.Context()); err != nil {
		t.Errorf("second release: %v", err)
	}
}

func TestThreadsAreCountedUntilTheEnd(t *testing.T) {
	t.Parallel()
	self := &Process{id: ID{PID: os.Getpid()}}
	for tries := 1; ; tries++ { // threads of other tests come and go
		before, err := self.CountThreads()
		threads, terr := self.Threads()
		after, aerr := self.CountThreads()
		if err := errors.Join(err, terr, aerr); err != nil {
			t.Fatal(err)
		}
		if before == len(threads) && after == before && before > 1 {
			break
		}
		if tries == 1000 {
			t.Fatalf("%d threads, then %d, threads %v", before, after, threads)
		}
	}
	child := start(t, "exec sleep 1000")
	if got, err := child.CountThreads(); got != 1 || err != nil {
		t.Errorf("a child has %d threads, %v, want 1", got, err)
	}
	for {
		threads, err := child.Threads()
		if err != nil || len(threads) != 1 {
			t.Fatalf("a child has the threads %v, %v", threads, err)
		}
		if threads[0] == (Thread{"sleep", true}) {
			break
		}
	}
	if err := child.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := child.CountThreads(); got != 0 || err != nil {
		t.Errorf("a child that was waited for has %d threads, %v", got, err)
	}
	if confined, err := child.Confined(); confined || err != nil {
		t.Errorf("a child that was waited for is confined: %t, %v", confined, err)
	}
}

func TestSeccompFiltersAreRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "status")
	for text, want := range map[string]int{
		"Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t3\nSpeculation:\tx\n": 3,
		"Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n":                  0,
		"Name:\tx\nSeccomp:\t0\n":                                       -1,
		"Name:\tx\nSeccomp_filters:\tmany\n":                            -1,
		"Name:\tx\nSeccomp_filters:\t1":                                 -1,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := seccompFilters(path); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	if confined, err := start(t, "exec sleep 1000").Confined(); confined || err != nil {
		t.Errorf("a shell's child is confined: %t, %v", confined, err)
	}
}

func TestAfterDoneIsCalledOnceTheProcessHasEnded(t *testing.T) {
	t.Parallel()
	p := start(t, "read line") // ends at once: there is no line
	called := make(chan bool, 2)
	report := func() {
		select {
		case <-p.Done():
			called <- true
		default:
			called <- false
		}
	}
	p.AfterDone(report) // before the end, or just after it
	wait(t, p)
	p.AfterDone(report) // after it
	for range 2 {
		select {
		case done := <-called:
			if !done {
				t.Error("called before the end")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("not called")
		}
	}
}

func TestChildIsWhereTheCallersThreadIs(t *testing.T) {
	hosttest.Isolate(t)
	want, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	isolated := false
	p := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"60"}, Isolate: func() error {
		isolated = true
		return nil
	}})
	got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.ID().PID))
	if err != nil || got != want || !isolated {
		t.Errorf("it is in %s, %v, want %s (isolated: %t)", got, err, want, isolated)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}
