package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

// A caller may have moved its thread, and its process is to begin there; another one's
// threads have not moved.
func TestProcessBeginsInTheNamespacesOfItsCaller(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	for name, move := range map[string]int{"nowhere": 0, "network": unix.CLONE_NEWNET, "mounts": unix.CLONE_NEWNS, "both": unix.CLONE_NEWNET | unix.CLONE_NEWNS} {
		t.Run(name, func(t *testing.T) {
			err := OnThread(func() error {
				if err := unix.Unshare(unix.CLONE_FS | move); err != nil {
					return err
				}
				want := namespaces(t, "thread-self")
				spec := Spec{Path: "/bin/sleep", Args: []string{"1000"}, Isolate: func() error { return nil }}
				p := startSpec(t, spec)
				if got := namespaces(t, fmt.Sprint(p.ID().PID)); got != want {
					t.Errorf("it is in %s, its caller in %s", got, want)
				}
				spec.Ahead = GoAhead(func() error { return unix.Unshare(unix.CLONE_NEWUTS) }, false, false)
				defer spec.Ahead.Close()
				p = startSpec(t, spec)
				if got := namespaces(t, fmt.Sprint(p.ID().PID)); got != want {
					t.Errorf("made ready ahead, it is in %s, its caller in %s", got, want)
				}
				own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/uts", p.ID().PID))
				if here, _ := os.Readlink("/proc/thread-self/ns/uts"); err != nil || own == here {
					t.Errorf("it was not made ready: %s here and there, %v", own, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func namespaces(t *testing.T, process string) string {
	t.Helper()
	var all bytes.Buffer
	for _, kind := range []string{"net", "mnt"} {
		link, err := os.Readlink("/proc/" + process + "/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, link)
	}
	return all.String()
}

func TestThreadThatIsNotNeededEnds(t *testing.T) {
	began := make(chan struct{})
	a := GoAhead(func() error { close(began); return nil }, false, false)
	<-began
	a.Close()
	a.Close()
	if err := a.do(func() error { return nil }, false); err == nil {
		t.Error("it does work after its end")
	}
	(*Ahead)(nil).Close()
}

func TestFailureAheadFailsTheStart(t *testing.T) {
	wrong := errors.New("not ready")
	a := GoAhead(func() error { return wrong }, false, false)
	defer a.Close()
	null := openNull(t)
	_, err := Start(Spec{Path: "/bin/true", Stdin: null, Stdout: null, Stderr: null, Isolate: func() error { return nil }, Ahead: a})
	if !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
}
