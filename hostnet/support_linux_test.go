package hostnet_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// ground is a runtime directory on a host of its own.
type ground struct {
	runtime string
	host    *nettest.Namespace
	before  nettest.Snapshot
}

// newGround is called first: what is different at the end of the test is a failure.
func newGround(t *testing.T) *ground {
	t.Helper()
	s := &ground{runtime: t.TempDir(), host: nettest.Host(t)}
	if err := os.Chmod(s.runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	s.before = s.host.Snapshot(t)
	return s
}

// clean fails the test if anything is left.
func (s *ground) clean(t *testing.T) {
	t.Helper()
	s.host.Same(t, s.before)
	if networks, err := hostnet.List(t.Context(), s.runtime); err != nil || len(networks) > 0 {
		t.Errorf("networks left: %+v, %v", networks, err)
	}
	for _, dir := range []string{s.runtime + "/.networks", s.runtime + "/.networks/.holders"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			if name := e.Name(); name != ".lock" && name != ".owner" && name != ".holders" {
				t.Errorf("left: %s/%s", dir, name)
			}
		}
	}
}

// network returns a value for the network, which is closed at the end.
func (s *ground) network(t *testing.T, opts hostnet.Options) *hostnet.Network {
	t.Helper()
	opts.Dir = s.runtime
	n, err := hostnet.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close network: %v", err)
		}
	})
	return n
}

// tenant is what a VM needs of a network: its ledger.
type tenant struct {
	*ledger.Ledger

	id string
}

func (s *ground) vm(t *testing.T, id string) *tenant {
	t.Helper()
	l, err := ledger.Create(s.runtime, id)
	if err != nil {
		t.Fatal(err)
	}
	return &tenant{l, id}
}

// attach gives the VM an interface.
func (v *tenant) attach(t *testing.T, n *hostnet.Network) *hostnet.TAP {
	t.Helper()
	tap, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: v.id, Iface: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// gone ends the VM.
func (v *tenant) gone(t *testing.T) {
	t.Helper()
	if err := errors.Join(v.Release(t.Context()), v.Destroy()); err != nil {
		t.Fatal(err)
	}
}

// kinds are those of the ledger of a VM.
func kinds() ledger.Kinds { return maps.Clone(hostnet.Kinds()) }

func config(bridge, subnet string) netconfig.Config {
	c := netconfig.Config{Bridge: bridge}
	if subnet != "" {
		var err error
		if c.Subnet, err = netconfig.ParseSubnet(subnet); err != nil {
			panic(err)
		}
	}
	return c
}

// tunnelOfOthers makes wg-others, a device such as a program's WireGuard has.
func tunnelOfOthers(t *testing.T) {
	t.Helper()
	host := nettest.Host(t)
	try(t, host.Netlink().LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "wg-others"}, Mode: netlink.TUNTAP_MODE_TUN}))
	host.Up(t, "wg-others")
}
