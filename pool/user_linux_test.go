package pool_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

// inAnotherLife makes a pool on a host of which nothing but files is left afterwards.
func (s *scene) inAnotherLife(t *testing.T, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"setup", s.Dir, s.SharedMemory, strconv.Itoa(alice.UID)}, s.Devices...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// openTAP does what Firecracker does.
func openTAP(device, name string) error {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	return errors.Join(err, unix.Close(fd))
}

// as runs do on a thread that is this user's and is thrown away.
func (s *scene) as(t *testing.T, u pool.User, do func()) {
	t.Helper()
	err := s.host.Do(func() error {
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID)); errno != 0 {
				return errno
			}
		}
		do()
		return nil
	})
	must(t, err)
}

func TestUserCanOpenHisTAPsAndNobodyElses(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		must(t, os.Chmod(s.Devices[1], 0o600))
		a, b := s.setUp(t, pool.Request{User: alice, TAPs: 2}), s.setUp(t, pool.Request{User: bob, TAPs: 1})
		s.as(t, alice, func() {
			for _, tap := range a.TAPs {
				if err := openTAP(s.Devices[1], tap.Name); err != nil {
					t.Errorf("alice's own: %v", err)
				}
			}
			if err := openTAP(s.Devices[1], b.TAPs[0].Name); !errors.Is(err, unix.EPERM) {
				t.Errorf("bob's: %v", err)
			}
			if err := openTAP(s.Devices[1], "new0"); !errors.Is(err, unix.EPERM) {
				t.Errorf("a new one: %v", err)
			}
			fd, err := unix.Open(s.Devices[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Errorf("the first device: %v", err)
			} else {
				_ = unix.Close(fd)
			}
			if _, err := pool.Open(s.Options, alice); err != nil {
				t.Error(err)
			}
			for what, err := range map[string]error{
				"set up": second(pool.SetUp(t.Context(), s.Options, pool.Request{User: alice, TAPs: 3})),
				"remove": second(pool.Remove(t.Context(), s.Options, alice, true)),
			} {
				if errcode.Of(err, "") != errcode.NotPermitted {
					t.Errorf("%s: %v", what, err)
				}
			}
			list, err := pool.List(s.Options)
			if err != nil || len(list) != 2 {
				t.Errorf("list: %v, %v", list, err)
			}
		})
		s.remove(t, alice)
		s.as(t, alice, func() {
			if err := openTAP(s.Devices[1], a.TAPs[0].Name); !errors.Is(err, unix.EACCES) {
				t.Errorf("after the removal: %v", err)
			}
			if err := second(pool.Open(s.Options, alice)); errcode.Of(err, "") != errcode.NotPermitted {
				t.Errorf("after the removal: %v", err)
			}
		})
		s.as(t, bob, func() {
			if err := openTAP(s.Devices[1], b.TAPs[0].Name); err != nil {
				t.Errorf("bob's: %v", err)
			}
		})
		s.remove(t, bob)
		must(t, os.Chmod(s.Devices[1], 0o666))
		s.clean(t)
	})
}

// A user may remove a TAP that he has open, or give it away. That is nobody's loss but
// his, and the next setup puts it right.
func TestUserWhoGivesATAPAwayHasItBackAfterSetUp(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		p := s.setUp(t, pool.Request{User: alice, TAPs: 2})
		device := s.Devices[1]
		s.as(t, alice, func() {
			fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
			must(t, err)
			request, err := unix.NewIfreq(p.TAPs[0].Name)
			must(t, err)
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
			must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
			must(t, unix.IoctlSetInt(fd, unix.TUNSETOWNER, bob.UID), unix.Close(fd))
		})
		if status, err := p.Status(); err != nil || status.Missing != 1 {
			t.Errorf("status %+v, %v", status, err)
		}
		again := s.setUp(t, pool.Request{User: alice})
		if status, err := again.Status(); err != nil || status.Missing != 0 {
			t.Errorf("after setup: %+v, %v", status, err)
		}
		s.remove(t, alice)
		s.clean(t)
	})
}

// What a guest of a pool may do is what a guest of root's may: nothing depends on the
// program that has the TAP open.
func TestGuestsOfPoolsAreHeldByTheirRules(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.world.Serve(t, "tcp", allowed+":80")
		s.world.Serve(t, "tcp", denied+":80")
		rule, err := netconfig.ParseRule(denied)
		must(t, err)
		rule.Action = netconfig.Deny
		a := s.setUp(t, pool.Request{User: alice, TAPs: 1, Egress: &netconfig.Policy{Default: netconfig.Allow, Rules: []netconfig.Rule{rule}}})
		b := s.setUp(t, pool.Request{User: bob, TAPs: 1})
		guest := func(p *pool.Pool) *nettest.Guest {
			tap := p.TAPs[0]
			return nettest.NewGuest(t, nettest.GuestConfig{TAP: tap.Name, MAC: tap.MAC, Addr: tap.Addr.String(), Gateway: tap.Gateway.String()})
		}
		mine, other := guest(a), guest(b)
		other.Serve(t, "tcp", b.TAPs[0].Addr.Addr().String()+":80")
		leaked := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Dst == netip.MustParseAddr(denied) })
		crossed := s.host.Capture(t, b.TAPs[0].Name, func(p nettest.Packet) bool { return p.Src == a.TAPs[0].Addr.Addr() })
		if seen := mine.Reach(t, "tcp", allowed+":80"); seen.Addr().String() != "198.51.100.1" {
			t.Errorf("the server saw %s", seen)
		}
		mine.Block(t, "tcp", denied+":80")
		mine.Block(t, "tcp", b.TAPs[0].Addr.Addr().String()+":80")
		mine.Flush(t)
		for what, capture := range map[string]*nettest.Capture{"to what is denied": leaked, "to bob's guest": crossed} {
			if packets := capture.Stop(t); len(packets) > 0 {
				t.Errorf("%s: %d packets passed, the first is %+v", what, len(packets), packets[0])
			}
		}
		mine.Close()
		other.Close()
		s.remove(t, alice)
		s.remove(t, bob)
	})
}
