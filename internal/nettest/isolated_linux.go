package nettest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

const (
	// isolatedVar names the test that a process was started for.
	isolatedVar = "SMARTVM_TEST_ISOLATED"
	// longest is how long an isolated test may take where go test sets no limit.
	longest = 10 * time.Minute
	// grace is for the report of a test that ran into its time limit.
	grace = 5 * time.Second
)

// Isolated runs body in a process of its own, in network and mount namespaces of
// its own: nothing else is there but lo, which is up, and /sys shows these
// namespaces. The process is this test's binary, started for exactly this test, so
// what the test does before it calls Isolated is done there as well; what it does
// afterwards is done in both. What the process logs, a failure and a skip of body
// become the test's. The process dies with its parent, and gives up when the test's
// time is up. The test needs [hosttest.Root]; it may be parallel.
func Isolated(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	hosttest.Need(t, hosttest.Root)
	// A parent of the test that the process was started for runs in place, too.
	if chosen := os.Getenv(isolatedVar); chosen == t.Name() || strings.HasPrefix(chosen, t.Name()+"/") {
		if chosen == t.Name() {
			settle(t)
		}
		body(t)
		return
	}
	output, code := again(t)
	var log strings.Builder
	verdict := ""
	for line := range strings.Lines(output) {
		if end, found := strings.CutPrefix(strings.TrimLeft(line, " "), "--- "); found && strings.Contains(end, ": "+t.Name()+" (") {
			verdict, _, _ = strings.Cut(end, ":")
		}
		log.WriteString("| " + line) // so that nobody takes it for a line of this process
	}
	switch {
	case code == 0 && verdict == "PASS":
		t.Logf("in namespaces of its own:\n%s", log.String())
	case code == 0 && verdict == "SKIP":
		t.Skipf("in namespaces of its own:\n%s", log.String())
	default: // a process that never came to the test has failed as well
		t.Fatalf("in namespaces of its own, exit code %d:\n%s", code, log.String())
	}
}

// settle makes the new namespaces fit to be tested in.
func settle(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal("keep mounts from spreading to the host: ", err)
	}
	// A sysfs shows the network namespace of its mounter.
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		t.Fatal("mount /sys: ", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal("set up lo: ", err)
	}
}

// again runs this test in a new process and returns what it wrote and its exit
// code, -1 if it was killed.
func again(t *testing.T) (output string, code int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limit := longest
	if deadline, bounded := t.Deadline(); bounded {
		limit = max(time.Until(deadline)-2*grace, grace)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	// The kernel sends Pdeathsig when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, err := os.StartProcess(program, arguments(t.Name(), limit), &os.ProcAttr{
		// A process of a race build sleeps for a second at its end; that adds up.
		Env:   append(os.Environ(), isolatedVar+"="+t.Name(), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=50"),
		Files: []*os.File{null, w, w},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL},
	})
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal("start a process for the test: ", err)
	}
	// What the process started may keep the pipe open; the deadline ends the reading.
	if err := r.SetReadDeadline(time.Now().Add(limit + grace)); err != nil {
		t.Error(err)
	}
	stop := time.AfterFunc(limit+grace, func() { _ = process.Kill() })
	var text bytes.Buffer
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(&text, r)
		read <- err
	}()
	state, err := process.Wait()
	stop.Stop()
	if err != nil {
		t.Error(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(grace)); err != nil {
		t.Error(err)
	}
	if err := <-read; err != nil {
		t.Errorf("read what the test wrote: %v (a process that it left behind?)", err)
	}
	return text.String(), state.ExitCode()
}

// arguments returns the command line that runs only the named test, as this
// process was told to run it. Its profiles stay with this process.
func arguments(name string, limit time.Duration) []string {
	levels := strings.Split(name, "/")
	for i, level := range levels {
		levels[i] = "^" + regexp.QuoteMeta(level) + "$"
	}
	// Somebody who asked for one of the subtests inside gets that one.
	asked := strings.Split(flag.Lookup("test.run").Value.String(), "/")
	if len(asked) > len(levels) && !strings.ContainsAny(strings.Join(asked, ""), "|[(") {
		levels = append(levels, asked[len(levels):]...)
	}
	args := []string{
		os.Args[0], "-test.run=" + strings.Join(levels, "/"), "-test.v=true", "-test.count=1",
		"-test.timeout=" + limit.String(),
	}
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.short", "test.parallel", "test.cpu", "test.gocoverdir", "test.paniconexit0":
		default:
			if strings.HasPrefix(f.Name, "test.") {
				return
			}
		}
		args = append(args, fmt.Sprintf("-%s=%s", f.Name, f.Value))
	})
	return args
}
