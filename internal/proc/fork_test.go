package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/hosttest"
)

func statusOf(t *testing.T, p *Process, file string) string {
	t.Helper()
	text, err := os.ReadFile(p.procPath(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProcessOfAUserHasItsIdsAndLimitsAndNoGroup(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	const user = 1_900_000_003
	p := startSpec(t, Spec{
		Path: "/bin/sleep", Args: []string{"1000"}, Isolate: func() error { return nil },
		User: &User{UID: user, GID: user + 1}, Limits: []Limit{{unix.RLIMIT_NOFILE, 77}, {unix.RLIMIT_FSIZE, 4096}},
	})
	status := statusOf(t, p, "status")
	ids := func(id int) string { return strings.Repeat(fmt.Sprintf("\t%d", id), 4) + "\n" }
	for _, want := range []string{"\nUid:" + ids(user), "\nGid:" + ids(user+1), "\nGroups:\t \n", "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	limits := statusOf(t, p, "limits")
	for name, want := range map[string]string{"Max open files": "77 77", "Max file size": "4096 4096"} {
		_, rest, _ := strings.Cut(limits, name)
		if got := strings.Fields(rest); strings.Join(got[:2], " ") != want {
			t.Errorf("%s: %s, want %s", name, got[:2], want)
		}
	}
	// The thread that has set them was root with the user's real ids, and ends.
	for began := time.Now(); threadOf(t, user); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("a thread of ours is still the user's")
		}
	}
}

// threadOf reports whether a thread of ours is a user's.
func threadOf(t *testing.T, user int) bool {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && strings.Contains(string(text), fmt.Sprint("\nUid:\t", user)) {
			return true
		}
	}
	return false
}

func TestProgramThatCannotBeExecutedIsAnErrorAndNoProcess(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	null := openNull(t)
	for range 100 { // the thread ends while its result is waited for
		p, err := Start(Spec{Path: "/none", Dir: "/", Stdin: null, Stdout: null, Stderr: null, Isolate: func() error { return nil }, Closed: true})
		if p != nil || !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("got %v, %v", p, err)
		}
	}
}

func TestLimitsThatCannotBeSetLeaveNoProcess(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	null := openNull(t)
	const user = 1_900_000_004
	_, err := Start(Spec{
		Path: "/bin/sleep", Args: []string{"1000"}, Dir: "/", Stdin: null, Stdout: null, Stderr: null, Isolate: func() error { return nil },
		User: &User{UID: user, GID: user}, Limits: []Limit{{99, 1}}, // there is no such resource
	})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if text, err := os.ReadFile("/proc/" + e.Name() + "/status"); err == nil && strings.Contains(string(text), fmt.Sprint("\nUid:\t", user)) {
			t.Errorf("left:\n%s", text)
		}
	}
}

// A program may have files open without O_CLOEXEC: it was started with them, or means
// another child to have them.
func TestClosedProcessHasNoFileButItsOwn(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	const inheritable = 333
	if err := unix.Dup3(0, inheritable, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Close(inheritable); err != nil {
			t.Error(err)
		}
	}()
	for _, closed := range []bool{false, true} {
		p := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}, Isolate: func() error { return nil }, Closed: closed})
		_, err := os.Lstat(p.procPath("fd/333"))
		if is := errors.Is(err, os.ErrNotExist); is != closed {
			t.Errorf("closed %t: %v", closed, err)
		}
		if entries, err := os.ReadDir(p.procPath("fd")); closed && (err != nil || len(entries) != 3) {
			t.Errorf("it has %v, %v", entries, err)
		}
	}
	if flags, err := unix.FcntlInt(inheritable, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Errorf("ours was changed: flags %x, %v", flags, err)
	}
}

// The thread that starts it has all our files open until it ends.
func TestClosedProcessKeepsNoLock(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	path := t.TempDir() + "/lock"
	hold, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := filelock.Try(hold, filelock.Range{}, filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}, Isolate: func() error { return nil }, Closed: true})
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := filelock.Wait(t.Context(), next, filelock.Range{}, filelock.Exclusive); err != nil {
		t.Error(err)
	}
}

// A program that is being written can't be executed as long as any table has it open.
func TestClosedProcessIsNotBegunWhileForksAreHeldUp(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	null := openNull(t)
	syscall.ForkLock.RLock()
	path := filepath.Join(t.TempDir(), "program")
	program, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	thread, started := make(chan int, 1), make(chan error, 1)
	go func() {
		p, err := Start(Spec{
			Path: "/bin/true", Dir: "/", Stdin: null, Stdout: null, Stderr: null, Closed: true,
			Isolate: func() error { thread <- unix.Gettid(); return nil },
		})
		if p != nil {
			<-p.Done()
		}
		started <- err
	}()
	table := fmt.Sprintf("/proc/self/task/%d/fd", <-thread)
	time.Sleep(50 * time.Millisecond) // in which it would get its own
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name, _ := os.Readlink(filepath.Join(table, f.Name())); name == path {
			t.Errorf("descriptor %s of the thread still is the program", f.Name())
		}
	}
	syscall.ForkLock.RUnlock()
	if err := <-started; err != nil {
		t.Error(err)
	}
}
