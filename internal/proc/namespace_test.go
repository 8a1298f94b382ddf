package proc

import (
	"bytes"
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
				p := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}, Isolate: func() error { return nil }})
				if got := namespaces(t, fmt.Sprint(p.ID().PID)); got != want {
					t.Errorf("it is in %s, its caller in %s", got, want)
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
