package pager

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i], _ = conn.(*net.UnixConn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	return ends[0], ends[1]
}

// Not parallel: it counts the descriptors of the process.
func TestDescriptorsThatAreOfNoUseAreClosed(t *testing.T) { //nolint:paralleltest // see above
	us, them := pair(t)
	before := countDescriptors(t)
	fds := make([]int, 100)
	if _, _, err := them.WriteMsgUnix([]byte("[]"), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := receive(us); err == nil {
		t.Error("a hundred descriptors are taken")
	}
	for range 2 { // one with each part of the message
		if _, _, err := them.WriteMsgUnix([]byte("["), unix.UnixRights(0), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := receive(us); err == nil {
		t.Error("two descriptors are taken")
	}
	if after := countDescriptors(t); after != before {
		t.Errorf("%d descriptors are open, and before %d", after, before)
	}
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestMessageMayComeInParts(t *testing.T) {
	t.Parallel()
	u, err := open()
	if err != nil {
		t.Skip("needs a userfaultfd: ", err)
	}
	defer unix.Close(int(u))
	us, them := pair(t)
	sent := make(chan error, 1)
	go func() {
		_, _, err := them.WriteMsgUnix([]byte("[1"), unix.UnixRights(int(u)), nil)
		if err == nil {
			_, err = them.Write([]byte(",2]"))
		}
		sent <- err
	}()
	got, text, err := receive(us)
	if err != nil || string(text) != "[1,2]" {
		t.Errorf("received %q, %v", text, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	_ = unix.Close(int(got))
}
