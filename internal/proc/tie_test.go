package proc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

func TestProcessEndsWithTheNamespaceThatItIsTiedTo(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	first := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}, Namespaces: unix.CLONE_NEWPID})
	tied := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}, TiedTo: first})
	other := startSpec(t, Spec{Path: "/bin/sleep", Args: []string{"1000"}}) // started later, and by the same threads
	for p, want := range map[*Process]bool{first: true, tied: false, other: false} {
		if err := p.Control(func(pidfd int) error {
			got, err := IsFirst(pidfd)
			if got != want {
				t.Errorf("%s is first: %t", p.ID(), got)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	if err := first.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, tied); got.Signal != int(unix.SIGKILL) {
		t.Errorf("it ended with %s", got)
	}
	wait(t, first)
	select {
	case <-other.Done():
		t.Error("a process that is not tied has ended as well")
	default:
	}
}

func TestOnlyTheFirstOfANamespaceCanBeTiedTo(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	null := openNull(t)
	spec := Spec{Path: "/bin/true", Dir: "/", Stdin: null, Stdout: null, Stderr: null, TiedTo: start(t, "sleep 1000")}
	if p, err := Start(spec); err == nil {
		t.Errorf("%s is tied to one that takes nobody along", p.ID())
	}
	if err := spec.TiedTo.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, spec.TiedTo)
	if _, err := Start(spec); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tied to one that has ended: %v", err)
	}
}

func TestPeerIsTheProcessThatHasConnected(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		p, err := OpenPeer(int(fd))
		if err != nil {
			t.Error(err)
			return
		}
		if p.ID().PID != os.Getpid() {
			t.Errorf("it is %s", p.ID())
		}
		p.Forget()
	}); err != nil {
		t.Fatal(err)
	}
}
