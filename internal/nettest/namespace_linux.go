package nettest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Namespace is a network namespace. Its methods may be called concurrently, but
// those that take a test, which fail it, only from that test's goroutine.
type Namespace struct {
	file *os.File // of the namespace; it stays as long as this is open
	own  bool     // the process's namespace
	nl   *netlink.Handle
}

// Host returns the namespace of this process: inside [Isolated], that of the test.
func Host(tb testing.TB) *Namespace {
	tb.Helper()
	file, err := os.Open("/proc/self/ns/net")
	if err != nil {
		tb.Fatal(err)
	}
	return opened(tb, &Namespace{file: file, own: true})
}

// NewNamespace makes an empty namespace with lo up. It is gone, with all that is
// in it, at the end of the test.
func NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	file, err := proc.NewNetwork()
	if err != nil {
		tb.Fatal("make a network namespace: ", err)
	}
	n := opened(tb, &Namespace{file: file})
	n.Up(tb, "lo")
	return n
}

// Namespaced returns the namespace that a file is of, which the caller may close.
func Namespaced(tb testing.TB, file *os.File) *Namespace {
	tb.Helper()
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		tb.Fatal(err)
	}
	return opened(tb, &Namespace{file: again})
}

// Path leads to the namespace, for other processes too, as long as the test runs.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

func opened(tb testing.TB, n *Namespace) *Namespace {
	tb.Helper()
	tb.Cleanup(func() { _ = n.file.Close() })
	err := n.Do(func() (err error) {
		n.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.nl.Close)
	return n
}

// Do runs f on a thread in the namespace and returns its error. Sockets that f
// opens belong to the namespace for good, whoever uses them; /proc/sys/net and
// /proc/thread-self/net are the namespace's inside f, /proc/self/net and /sys are
// not. Several calls run at the same time. f must not call FailNow and the like.
func (n *Namespace) Do(f func() error) error {
	if n.own {
		return proc.OnThread(f)
	}
	return proc.OnThread(func() error {
		if err := proc.EnterNetwork(n.file); err != nil {
			return err
		}
		return f()
	})
}

// Netlink returns a handle for the namespace's links, addresses, routes and rules.
func (n *Namespace) Netlink() *netlink.Handle { return n.nl }

// Link returns the named link.
func (n *Namespace) Link(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	link, err := n.nl.LinkByName(name)
	if err != nil {
		tb.Fatalf("link %s: %v", name, err)
	}
	return link
}

// Up sets the named link up.
func (n *Namespace) Up(tb testing.TB, name string) {
	tb.Helper()
	if err := n.nl.LinkSetUp(n.Link(tb, name)); err != nil {
		tb.Fatalf("set up %s: %v", name, err)
	}
}

// Sysctl returns a setting of the namespace, such as "net/ipv4/ip_forward".
func (n *Namespace) Sysctl(tb testing.TB, path string) string {
	tb.Helper()
	var value []byte
	err := n.Do(func() (err error) {
		value, err = os.ReadFile(filepath.Join("/proc/sys", path))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(value))
}

// SetSysctl changes a setting of the namespace.
func (n *Namespace) SetSysctl(tb testing.TB, path, value string) {
	tb.Helper()
	err := n.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0)
	})
	if err != nil {
		tb.Fatal(err)
	}
}
