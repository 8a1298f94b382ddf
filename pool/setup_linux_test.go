package pool_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/acl"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
)

// same compares pools.
func same(a, b *pool.Pool) string {
	return cmp.Diff(a, b, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}))
}

func TestPoolIsMadeDescribedAndRemoved(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		p := s.setUp(t, pool.Request{User: alice, TAPs: 3})
		if p.Bridge != "svp1777000001" || p.Subnet != netip.MustParsePrefix("172.31.0.0/24") || len(p.TAPs) != 3 {
			t.Fatalf("got %+v", p)
		}
		for i, tap := range p.TAPs {
			link, err := s.host.Netlink().LinkByName(tap.Name)
			must(t, err)
			if tun, ok := link.(*netlink.Tuntap); !ok || int(tun.Owner) != alice.UID {
				t.Errorf("tap %d is %+v", i, link)
			}
			if want := "ip=" + tap.Addr.Addr().String() + "::172.31.0.1:255.255.255.0:"; !strings.HasPrefix(tap.IPArgument, want) {
				t.Errorf("tap %d: argument %s", i, tap.IPArgument)
			}
		}
		seen, err := pool.Open(s.Options, alice)
		must(t, err)
		if diff := same(p, seen); diff != "" {
			t.Errorf("what the user sees is another one:\n%s", diff)
		}
		list, err := acl.Get(s.Devices[0])
		must(t, err)
		if perm, named := list.Of(uint32(alice.UID)); !named || perm != acl.Read|acl.Write {
			t.Errorf("access to the first device: %v", list)
		}
		if list, err = acl.Get(s.Devices[1]); err != nil || !cmp.Equal(list, acl.OfMode(0o666)) {
			t.Errorf("a device that everybody may open has %v, %v", list, err)
		}
		if removed := s.remove(t, alice); len(removed) != 6 { // access, leases, 3 TAPs, note
			t.Errorf("removed %q", removed)
		}
		if removed := s.remove(t, alice); len(removed) != 0 {
			t.Errorf("removed again: %q", removed)
		}
		s.clean(t)
	})
}

func TestSetUpAgainChangesOnlyWhatIsAsked(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		deny := &netconfig.Policy{Default: netconfig.Deny}
		first := s.setUp(t, pool.Request{User: alice, TAPs: 2, Subnet: netip.MustParsePrefix("10.77.0.7/28"), Egress: deny})
		state := s.host.Snapshot(t)
		if diff := same(first, s.setUp(t, pool.Request{User: alice})); diff != "" {
			t.Errorf("the same again:\n%s", diff)
		}
		s.host.Same(t, state)
		second := s.setUp(t, pool.Request{User: alice, Egress: &netconfig.Policy{Default: netconfig.Allow}})
		if second.Egress.Default != netconfig.Allow || second.TAPs[0].Name != first.TAPs[0].Name {
			t.Errorf("with another policy: %+v", second)
		}
		n, err := hostnet.New(hostnet.Options{Dir: filepath.Join(s.Dir, "state"), Config: netconfig.Config{Bridge: first.Bridge}})
		must(t, err)
		if info, err := n.Info(t.Context()); err != nil || info.Config.Egress.Default != netconfig.Allow {
			t.Errorf("the network has %+v, %v", info, err)
		}
		must(t, n.Close())
		third := s.setUp(t, pool.Request{User: alice, TAPs: 4})
		if len(third.TAPs) != 4 || third.Subnet != first.Subnet || third.Egress.Default != netconfig.Allow {
			t.Errorf("with more TAPs: %+v", third)
		}
		s.remove(t, alice)
		s.clean(t)
	})
}

func TestEachPoolHasItsOwnSubnet(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.host.AddRoute(t, "172.31.1.0/24", "198.51.100.254")
		a, b := s.setUp(t, pool.Request{User: alice, TAPs: 1}), s.setUp(t, pool.Request{User: bob, TAPs: 1})
		if a.Subnet != netip.MustParsePrefix("172.31.0.0/24") || b.Subnet != netip.MustParsePrefix("172.31.2.0/24") {
			t.Errorf("got %v and %v", a.Subnet, b.Subnet)
		}
		_, err := pool.SetUp(t.Context(), s.Options, pool.Request{User: bob, Subnet: a.Subnet})
		wantCode(t, err, errcode.InvalidSubnet)
		list, err := pool.List(s.Options)
		must(t, err)
		if len(list) != 1 || list[0].User != alice {
			t.Errorf("the list has %+v", list)
		}
		s.remove(t, alice)
		s.remove(t, bob)
	})
}

func TestTAPsInUseAreInTheWayUnlessForced(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		p := s.setUp(t, pool.Request{User: alice, TAPs: 2})
		guest := nettest.NewGuest(t, nettest.GuestConfig{TAP: p.TAPs[1].Name, MAC: p.TAPs[1].MAC, Addr: p.TAPs[1].Addr.String(), Gateway: p.TAPs[1].Gateway.String()})
		if status, err := p.Status(); err != nil || status.Used != 1 {
			t.Errorf("status %+v, %v", status, err)
		}
		for what, do := range map[string]func() error{
			"remove": func() error { _, err := pool.Remove(t.Context(), s.Options, alice, false); return err },
			"change": func() error {
				_, err := pool.SetUp(t.Context(), s.Options, pool.Request{User: alice, TAPs: 3})
				return err
			},
		} {
			if e := wantCode(t, do(), errcode.NetworkInUse); !strings.Contains(e.Error(), p.TAPs[1].Name) {
				t.Errorf("%s: %v", what, e)
			}
		}
		s.setUp(t, pool.Request{User: alice, Egress: &netconfig.Policy{Default: netconfig.Deny}})
		if _, err := pool.Remove(t.Context(), s.Options, alice, true); err != nil {
			t.Error(err)
		}
		guest.Close()
		s.clean(t)
	})
}

func TestWhatWasRemovedMeanwhileIsMadeAgain(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		p := s.setUp(t, pool.Request{User: alice, TAPs: 2})
		for what, spoil := range map[string]func() error{
			"leases": func() error { return os.RemoveAll(p.Leases) },
			"access": func() error { return acl.Set(s.Devices[0], acl.OfMode(0o600)) },
			"note":   func() error { return os.Remove(filepath.Join(s.Dir, "1777000001.json")) },
			"bridge": func() error {
				return s.host.Netlink().LinkDel(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: p.Bridge}})
			},
			"tap": func() error {
				return s.host.Netlink().LinkDel(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: p.TAPs[0].Name}})
			},
		} {
			must(t, spoil())
			p = s.setUp(t, pool.Request{User: alice})
			if status, err := p.Status(); err != nil || status != (pool.Status{}) {
				t.Errorf("%s: %+v, %v", what, status, err)
			}
			if info, err := os.Stat(p.Leases); err != nil || info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("%s: leases: %v", what, err)
			}
			if a, err := acl.Get(s.Devices[0]); err != nil || len(a) != 5 {
				t.Errorf("%s: access: %v, %v", what, a, err)
			}
			if _, err := pool.Open(s.Options, alice); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		s.remove(t, alice)
		s.clean(t)
	})
}

// age makes of all files what an earlier start of the host has left.
func (s *scene) age(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		must(t, err)
		data, err := os.ReadFile(path)
		must(t, err)
		old := strings.Repeat("0", len(proc.BootID()))
		return os.WriteFile(path, bytes.ReplaceAll(data, []byte(proc.BootID()), []byte(old)), info.Mode())
	})
	must(t, err)
}

func TestPoolOfBeforeAStartOfTheHostIsMadeAnew(t *testing.T) {
	t.Parallel()
	program := ""
	if os.Getuid() == 0 {
		program = faulttest.Build(t, "testdata/administrator")
	}
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		for _, setUp := range []bool{true, false} {
			s.inAnotherLife(t, program)
			s.age(t)
			must(t, os.Chmod(s.Devices[0], 0o600), acl.Set(s.Devices[0], acl.OfMode(0o600)))
			if e := wantCode(t, second(pool.Open(s.Options, alice)), errcode.NotPermitted); !strings.Contains(e.Hint, "sudo smartvm setup --user ") {
				t.Errorf("hint %q", e.Hint)
			}
			if setUp {
				p := s.setUp(t, pool.Request{User: alice})
				if status, err := p.Status(); err != nil || status != (pool.Status{}) || len(p.TAPs) != 2 {
					t.Errorf("%+v, %v", status, err)
				}
			}
			s.remove(t, alice)
			s.clean(t)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestFileThatRootHasNotWrittenIsRefused(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.setUp(t, pool.Request{User: alice, TAPs: 1})
		note := filepath.Join(s.Dir, "1777000001.json")
		data, err := os.ReadFile(note)
		must(t, err)
		other := filepath.Join(filepath.Dir(s.Dir), "other.json")
		for name, plant := range map[string]func() error{
			"of the user":         func() error { return os.Chown(note, alice.UID, 0) },
			"writable":            func() error { return os.Chmod(note, 0o646) },
			"writable by a group": func() error { return os.Chmod(note, 0o664) },
			"a directory":         func() error { return os.Mkdir(note, 0o755) },
		} {
			must(t, os.RemoveAll(note))
			if name != "a directory" {
				must(t, os.WriteFile(note, data, 0o644), os.Chmod(note, 0o644))
			}
			must(t, plant())
			if err := second(pool.Open(s.Options, alice)); errcode.Of(err, "") != errcode.InsecurePath {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, os.RemoveAll(note), os.WriteFile(other, data, 0o644), os.Symlink(other, note))
		if err := second(pool.Open(s.Options, alice)); err == nil {
			t.Error("a link was followed")
		}
		must(t, os.Remove(note), os.Remove(other), os.WriteFile(note, data, 0o644))
		must(t, os.Chown(s.Dir, bob.UID, 0))
		wantCode(t, second(pool.Open(s.Options, alice)), errcode.InsecurePath)
		must(t, os.Chown(s.Dir, 0, 0))
		var p pool.Pool
		must(t, json.Unmarshal(data, &p))
		p.TAPs[0].Name = "../evil"
		data, err = json.Marshal(p)
		must(t, err, os.WriteFile(note, data, 0o644))
		wantCode(t, second(pool.Open(s.Options, alice)), errcode.LedgerFailed)
		s.remove(t, alice)
		s.clean(t)
	})
}
