package e2e_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// Of the tunnel. Its far end is in the internet, and has a way out.
const (
	exitIP      = "192.88.99.2"
	nearIP      = "10.99.0.2" // of the host, in the tunnel
	farTunnelIP = "10.99.0.1"
	madeTunnel  = netconfig.DefaultWireGuardInterface
)

// exit is the far end, and the key of the near one, which it knows.
type exit struct {
	*nettest.Exit

	private wgtypes.Key
}

func (w *world) exit() *exit {
	w.t.Helper()
	hosttest.Need(w.t, hosttest.WireGuard)
	private, err := wgtypes.GeneratePrivateKey()
	must(w.t, err)
	e := &exit{nettest.NewExit(w.t, w.internet, exitIP+"/24", farTunnelIP+"/24"), private}
	e.Tunnel.AddPeer(w.t, private.PublicKey(), "", nearIP+"/32")
	return e
}

// made is the tunnel as smartvm makes it of a file for wg-quick.
func (e *exit) made(t *testing.T) *netconfig.Tunnel {
	t.Helper()
	tunnel, warnings, err := netconfig.ParseWireGuard(fmt.Appendf(nil,
		"[Interface]\nPrivateKey = %s\nAddress = %s/24\n[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = 0.0.0.0/0\n",
		e.private, nearIP, e.Tunnel.Public, e.Endpoint))
	must(t, err)
	if len(warnings) > 0 {
		t.Error(warnings)
	}
	return tunnel
}

// existing makes a tunnel of the host's own, by the kernel's WireGuard.
func (e *exit) existing(w *world, name string) {
	t := w.t
	t.Helper()
	must(t, w.host.Netlink().LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	client, err := wgctrl.New()
	must(t, err)
	defer client.Close()
	endpoint := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(e.Endpoint))
	_, all, err := net.ParseCIDR("0.0.0.0/0")
	must(t, err)
	must(t, client.ConfigureDevice(name, wgtypes.Config{PrivateKey: &e.private, Peers: []wgtypes.PeerConfig{
		{PublicKey: e.Tunnel.Public, Endpoint: endpoint, AllowedIPs: []net.IPNet{*all}},
	}}))
	w.host.AddAddr(t, name, nearIP+"/24")
	w.host.Up(t, name)
}

// outage is a way to lose a tunnel. mend is what has to be done before Repair.
type outage struct {
	what        string
	cause, mend func()
}

// suffer has the guest ping on while the tunnel is lost and comes back, and looks at
// what leaves the host by its default route.
func (w *world) suffer(n *hostnet.Network, g *guest.Guest, tap hostnet.TAP, o outage) {
	t := w.t
	t.Helper()
	own := probe{"udp", farIP + ":9"} // the control: what the host itself sends looks the same
	leaving := watch(t, w.host, "up0", func(p nettest.Packet) bool {
		return p.Outgoing && (tap.Addr.Contains(p.Src) || p.Dst.String() == exampleIP || kind(p) == own)
	})
	must(t, w.host.Do(func() error {
		conn, err := new(net.Dialer).DialContext(t.Context(), own.network, own.to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return err
	}))
	pings := watch(t, w.host, tap.Name, fromGuest)
	answers := watch(t, w.host, tap.Name, func(p nettest.Packet) bool { return p.Outgoing && p.Src.String() == exampleIP })
	ping, pong := probe{"icmp", exampleIP}, probe{"icmp", tap.Addr.Addr().String()}
	asking, err := g.Start(patient(t), "ping -q -i 0.2 "+exampleIP+" >/dev/null 2>&1")
	must(t, err)
	answers.more(pong, 3)

	o.cause()
	fresh := probe{"tcp", exampleIP + ":81"}
	connecting := fresh.ask(t, g)
	pings.wait(fresh, 1)
	pings.more(ping, 5)
	end(t, connecting)
	if got := connecting.Result(); got.Stdout != "" || got.Code == 0 {
		t.Errorf("%s, and yet there is an answer: %+v", o.what, got)
	}
	wantOnly(t, o.what+": by the default route", leaving.kinds(), own) // what follows may wait for what never comes
	if faults, err := n.Check(patient(t)); err != nil || len(faults) == 0 {
		t.Errorf("%s, and Check finds no fault (%v)", o.what, err)
	}
	if o.mend != nil {
		o.mend()
	}
	must(t, n.Repair(patient(t)))
	answers.more(pong, 3)
	end(t, asking)
	wantReached(t, g, "tcp", exampleIP+":80", exitIP)
	pings.stop()
	answers.stop()
	wantOnly(t, o.what+", and is repaired: by the default route", leaving.stop(), own)
	if faults, err := n.Check(patient(t)); err != nil || len(faults) > 0 {
		t.Errorf("%s, and after the repair there is %+v (%v)", o.what, faults, err)
	}
}

// wantOnly wants one kind of packets to have been seen.
func wantOnly(t *testing.T, where string, got []probe, want probe) {
	t.Helper()
	if len(got) != 1 || got[0] != want {
		t.Errorf("%s go %v, want %v only", where, got, want)
	}
}

// encrypted matches the packets of the tunnel itself.
func encrypted(p nettest.Packet) bool { return p.Dst.String() == exitIP || p.Src.String() == exitIP }

func TestGuestsTrafficTakesTheTunnelAndNeverAnotherWay(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S11.1, S11.2", "TCP, UDP and ICMP of a guest take the WireGuard tunnel that is made of a file for wg-quick, and the guest knows nothing of it")
		claims(t, "S11.1", "The host's own traffic keeps its default route")
		claims(t, "S11.1", "A forwarded port answers by the way the question came, tunnel or not")
		claims(t, "S11.3", "Not one packet of a guest takes the default route while the tunnel's interface is deleted and made again")
		claims(t, "S11.3", "Not one does while the routing rules, or nftables' rules and the interface, are gone and repaired")
		claims(t, "S11.3", "After a repair the guest's traffic takes the tunnel again")
		claims(t, "S11.2, S9.6", "Cleanup takes away the tunnel and what leads to it")
		w := newWorld(t)
		exit := w.exit()
		s := w.site(smartvm.Options{Network: netconfig.Config{WireGuard: &netconfig.WireGuard{Tunnel: exit.made(t)}}})
		vm, g := s.boot(s.networked(vmconfig.Network{Forwards: []netconfig.Forward{
			{HostIP: netip.IPv4Unspecified(), HostPort: 8080, GuestPort: 80},
		}}))
		plain := watch(t, w.host, "up0", func(p nettest.Packet) bool { return p.Type == nettest.TypeIPv4 && !encrypted(p) })
		hidden := watch(t, w.host, "up0", encrypted)
		wantReached(t, g, "tcp", exampleIP+":80", exitIP)
		wantReached(t, g, "udp", otherIP+":80", exitIP)
		reach(t, g, "icmp", farIP)
		plain.none("something else than the tunnel")
		if len(hidden.stop()) == 0 {
			t.Error("nothing of the tunnel was seen, and yet there were answers: the test sees nothing")
		}
		own, guests := probe{"tcp", otherIP + ":80"}, probe{"udp", otherIP + ":81"}
		inTunnel := watch(t, exit.Namespace, exit.Tunnel.Name, func(p nettest.Packet) bool {
			return !p.Outgoing && (kind(p) == own || kind(p) == guests || p.SrcPort == 80 || p.SrcPort == 8080)
		})
		if seen := w.host.Reach(t, own.network, own.to); seen.Addr().String() != uplinkIP {
			t.Errorf("the host is seen as %s, want %s", seen, uplinkIP)
		}
		serve(t, g)
		wantVisitor(t, w.internet, uplinkIP+":8080", routerIP)
		wantReached(t, g, guests.network, guests.to, exitIP)
		wantOnly(t, "in the tunnel", inTunnel.stop(), guests) // neither the host nor answers of a forwarded port

		n := s.manager.Network()
		for _, o := range []outage{
			{what: "the interface is deleted", cause: func() { w.host.Delete(t, madeTunnel) }},
			{what: "the routing rules are gone", cause: func() { w.host.FlushRoutingRules(t, bridge) }},
			{what: "the rules and the interface are gone", cause: func() {
				w.host.FlushRules(t)
				w.host.Delete(t, madeTunnel)
			}},
		} {
			w.suffer(n, g, vm.TAPs()[0], o)
		}
	})
}

func TestGuestsTrafficTakesATunnelThatIsTheHostsOwn(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S11.2", "TCP of a guest takes an existing WireGuard interface, and Cleanup leaves that as it was")
		claims(t, "S11.3", "Not one packet of a guest takes the default route while an existing WireGuard interface is down")
		const name = "wg0"
		w := newWorld(t)
		w.exit().existing(w, name)
		s := w.site(smartvm.Options{Network: netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: name}}})
		vm, g := s.boot(s.networked(vmconfig.Network{}))
		wantReached(t, g, "tcp", exampleIP+":80", exitIP)
		w.suffer(s.manager.Network(), g, vm.TAPs()[0], outage{
			what: "the interface is down", cause: func() { w.host.Down(t, name) }, mend: func() { w.host.Up(t, name) },
		})
	})
}

func TestGuestsTrafficKeepsTheDefaultRouteIfAskedTo(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S11.3", "Without routing of all traffic guests keep the host's routes with NAT, and reach through the tunnel what the host sends there")
		w := newWorld(t)
		exit := w.exit()
		s := w.site(smartvm.Options{Network: netconfig.Config{WireGuard: &netconfig.WireGuard{Tunnel: exit.made(t), KeepDefaultRoute: true}}})
		_, g := s.boot(s.networked(vmconfig.Network{}))
		wantReached(t, g, "tcp", exampleIP+":80", uplinkIP)
		must(t, w.host.Netlink().RouteAdd(&netlink.Route{
			Dst: &net.IPNet{IP: net.ParseIP(otherIP), Mask: net.CIDRMask(32, 32)}, LinkIndex: w.host.Link(t, madeTunnel).Attrs().Index,
		}))
		wantReached(t, g, "tcp", otherIP+":80", exitIP)
		w.host.Delete(t, madeTunnel)
		wantReached(t, g, "tcp", exampleIP+":80", uplinkIP)
	})
}
