package jail

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

func TestArgsAreTheJailersAndThenTheProgramsOwn(t *testing.T) {
	t.Parallel()
	j := New("/run/vm/jail", "/opt/firecracker-v1.12.1", "vm", 1900000000)
	const always = "--id vm --exec-file /opt/firecracker-v1.12.1 --uid 1900000000 --gid 1900000000 --chroot-base-dir /run/vm/jail"
	tests := map[string]struct {
		limits Limits
		args   []string
		want   string
	}{
		"no limits":   {want: always + " --"},
		"its own":     {args: []string{"--api-sock", "/api-socket"}, want: always + " -- --api-sock /api-socket"},
		"namespace":   {limits: Limits{NetNS: "/run/netns/a"}, want: always + " --netns /run/netns/a --"},
		"open files":  {limits: Limits{Files: 100}, want: always + " --resource-limit no-file=100 --"},
		"file size":   {limits: Limits{FileSize: 1 << 40}, want: always + " --resource-limit fsize=1099511627776 --"},
		"all of them": {Limits{"/n", 1, 2}, []string{"--x"}, always + " --netns /n --resource-limit no-file=1 --resource-limit fsize=2 -- --x"},
	}
	if want := "/run/vm/jail/firecracker-v1.12.1/vm/root"; j.Root != want {
		t.Errorf("root %s, want %s", j.Root, want)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := j.Args("/opt/firecracker-v1.12.1", "vm", tt.limits, tt.args)
			if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInJailEachRoleHasItsName(t *testing.T) {
	t.Parallel()
	table := Table{Jail: New("/run", "firecracker", "vm", 1)}
	for role, want := range map[string]string{"kernel": "kernel", "drive rootfs": "drive/rootfs", "api-socket": "api-socket"} {
		if inside, err := table.Add(role, "/some/file", Read); err != nil || inside != want || table.Inside(role) != want || table.Host(role) != "/some/file" {
			t.Errorf("%s is %s, %v, want %s", role, inside, err, want)
		}
	}
}

func TestPeerOfAnotherUserIsRefused(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	path := filepath.Join(t.TempDir(), "socket")
	listening := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: it stays another user's
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		if err == nil {
			err = become(prisoner)
		}
		if err == nil { // the credentials are those of the call of listen(2)
			err = relisten(l)
		}
		listening <- err
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check := func(j *Jail) (wrong error) {
		raw, err := conn.(*net.UnixConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { wrong = j.CheckPeer(int(fd)) }); err != nil {
			t.Fatal(err)
		}
		return wrong
	}
	if err := check(&Jail{UID: prisoner}); err != nil {
		t.Error("its own user: ", err)
	}
	if err := check(&Jail{UID: stranger}); err == nil {
		t.Error("another user's socket is accepted")
	}
	if err := check(&Jail{UID: 0}); err == nil {
		t.Error("another user's socket is accepted as root's")
	}
}

// relisten calls listen(2) once more.
func relisten(l net.Listener) error {
	raw, err := l.(*net.UnixListener).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), 1) }); err != nil {
		return err
	}
	return failed
}
