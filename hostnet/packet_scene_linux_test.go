package hostnet_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// Addresses of the scene.
const (
	uplinkIP  = "198.51.100.1" // of the host under test, on up0
	routerIP  = "198.51.100.254"
	secondIP  = "10.20.0.1" // on up1
	neighbour = "10.20.0.254"
	gatewayIP = "172.30.0.1"
	bridge    = "svbr0"
	table     = "smartvm-svbr0"

	exampleIP  = "203.0.113.9" // servers in the internet
	otherIP    = "203.0.113.10"
	resolverIP = "1.1.1.1"
	privateIP  = "10.9.0.1"
	metadataIP = "169.254.169.254" // on the router
)

// scene is the world of a host under test, which is the process's namespace:
//
//	guests - svbr0 HOST up0 -- router -- internet
//	                    up1 -- lan ------'
type scene struct {
	host, router, internet, lan *nettest.Namespace
	dir                         string // runtime directory
}

// newScene makes the world, without a network. Servers for TCP and UDP listen at
// ports 80 and 81 of the addresses of the internet, and at port 80 for metadata.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{host: nettest.Host(t), internet: nettest.NewNamespace(t), lan: nettest.NewNamespace(t), dir: t.TempDir()}
	s.router = s.host.Uplink(t, "up0", uplinkIP+"/24", metadataIP+"/32")
	nettest.Connect(t, nettest.End{In: s.host, Iface: "up1", Addrs: []string{secondIP + "/24"}},
		nettest.End{In: s.lan, Iface: "wan", Addrs: []string{neighbour + "/24"}})
	for i, way := range []*nettest.Namespace{s.router, s.lan} {
		far, near := []string{"192.0.2.1", "192.0.2.129"}[i], []string{"192.0.2.2", "192.0.2.130"}[i]
		nettest.Connect(t, nettest.End{In: way, Iface: "net0", Addrs: []string{near + "/25"}},
			nettest.End{In: s.internet, Iface: []string{"router", "lan"}[i], Addrs: []string{far + "/25"}})
		way.AddRoute(t, "0.0.0.0/0", far)
		way.SetSysctl(t, "net/ipv4/ip_forward", "1")
		s.internet.AddRoute(t, []string{"198.51.100.0/24", "10.20.0.0/24"}[i], near)
	}
	s.internet.AddAddr(t, "lo", exampleIP+"/32", resolverIP+"/32", privateIP+"/32", otherIP+"/32")
	s.internet.Serve(t, "tcp", "0.0.0.0:80")
	s.internet.Serve(t, "tcp", "0.0.0.0:81")
	s.router.Serve(t, "tcp", metadataIP+":80")
	s.router.Serve(t, "udp", metadataIP+":80")
	for _, ip := range []string{exampleIP, otherIP, resolverIP, privateIP} { // at "any" they would answer from another one
		s.internet.Serve(t, "udp", ip+":80")
		s.internet.Serve(t, "udp", ip+":81")
	}
	return s
}

// network makes a network with a config, and keeps it until the end of the test.
func (s *scene) network(t *testing.T, c netconfig.Config) *hostnet.Network {
	t.Helper()
	n, err := hostnet.New(hostnet.Options{Dir: s.dir, Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// guest is a guest on a network, with the stack of a Linux behind its TAP.
type guest struct {
	*nettest.Guest

	tap     *hostnet.TAP
	nic     ledgerOf
	gateway nettest.MAC
	serving bool
}

// ledgerOf is the ledger of a VM.
type ledgerOf struct{ *ledger.Ledger }

// release gives back what the VM has on the host.
func (l ledgerOf) release(t *testing.T) {
	t.Helper()
	if err := l.Release(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// join puts a VM on the network and starts a guest in it.
func (s *scene) join(t *testing.T, n *hostnet.Network, r hostnet.Request) *guest {
	t.Helper()
	if r.Iface == "" {
		r.Iface = "eth0"
	}
	led, err := ledger.Create(s.dir, r.VM)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{nic: ledgerOf{led}}
	t.Cleanup(func() {
		g.nic.release(t)
		if err := led.Destroy(); err != nil {
			t.Error(err)
		}
	})
	if g.tap, err = n.Attach(t.Context(), led, led.Dir(), r); err != nil {
		t.Fatal(err)
	}
	g.Guest = play(t, g.tap)
	g.gateway = g.Resolve(t, g.tap.Gateway.String())
	return g
}

// play starts a guest behind a TAP.
func play(t *testing.T, tap *hostnet.TAP) *nettest.Guest {
	t.Helper()
	return nettest.NewGuest(t, nettest.GuestConfig{
		TAP: tap.Name, MAC: tap.MAC, Addr: tap.Addr.String(), Gateway: tap.Gateway.String(), MTU: tap.MTU,
	})
}

// vm is the usual request of a guest.
func vm(name string) hostnet.Request { return hostnet.Request{VM: name} }

// inSubnet matches what has an address of guests, in whichever direction.
func inSubnet(p nettest.Packet) bool {
	subnet := netip.MustParsePrefix(netconfig.DefaultSubnet)
	return p.Type == nettest.TypeIPv4 && (subnet.Contains(p.Src) || subnet.Contains(p.Dst))
}

// none fails the test if a capture that was stopped has packets.
func none(t *testing.T, c *nettest.Capture, what string) {
	t.Helper()
	if packets := c.Stop(t); len(packets) > 0 {
		t.Errorf("%d packets of %s, the first: %+v", c.Count(), what, packets[0])
	}
}

// some fails the test if a capture that was stopped has none: it would prove nothing.
func some(t *testing.T, c *nettest.Capture, what string) {
	t.Helper()
	if len(c.Stop(t)) == 0 {
		t.Errorf("no packet of %s was seen", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forwarded is a request of a guest to which ports of the host lead.
func forwarded(name string, forwards ...netconfig.Forward) hostnet.Request {
	return hostnet.Request{VM: name, Forwards: forwards}
}

// from matches the packets of IPv4 that come from an address.
func from(addr string) func(nettest.Packet) bool {
	want := netip.MustParseAddr(addr)
	return func(p nettest.Packet) bool { return p.Type == nettest.TypeIPv4 && p.Src == want }
}
