package hostnet_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
)

// disaster is something that happens to a tunnel or its surroundings.
type disaster struct {
	name  string
	cause func(w *tunnel)
	// fault is a word of what Check says then; empty: nothing is wrong with the network.
	fault string
	// mend is what somebody does before Repair; nil: nothing.
	mend func(w *tunnel)
	// lost is set when nobody can mend it from here.
	lost bool
}

var disasters = []disaster{
	{
		name: "the tunnel is down", cause: func(w *tunnel) { w.s.host.Down(w.t, "wg0") }, fault: "wg0",
		mend: func(w *tunnel) {
			w.s.host.Up(w.t, "wg0")
			w.exit.Join(w.t, w.WireGuard)
		},
	},
	{name: "the interface is deleted", cause: func(w *tunnel) { w.Close() }, fault: "wg0", mend: (*tunnel).open},
	{name: "the peer is gone", cause: func(w *tunnel) { w.exit.Tunnel.Close() }, lost: true},
	{
		name: "the way to the peer is gone", cause: func(w *tunnel) { w.s.internet.Down(w.t, "exit") },
		mend: func(w *tunnel) { w.s.internet.Up(w.t, "exit") },
	},
	{name: "the default route is another", cause: func(w *tunnel) { w.s.host.ReplaceDefault(w.t, neighbour) }},
	{name: "the rules are flushed", cause: func(w *tunnel) { w.s.host.FlushRules(w.t) }, fault: "table inet " + table},
	{name: "the tunnel's routes are flushed", cause: func(w *tunnel) { w.s.host.FlushRoutes(w.t, 51820) }, fault: "route"},
	{name: "the routing rules are flushed", cause: func(w *tunnel) { w.s.host.FlushRoutingRules(w.t, bridge) }, fault: "routing rule"},
	{
		name: "the rules are flushed and the interface is deleted", fault: "table inet " + table, mend: (*tunnel).open,
		cause: func(w *tunnel) {
			w.s.host.FlushRules(w.t)
			w.Close()
		},
	},
	{
		name: "the rules are flushed and the tunnel's routes too", fault: "table inet " + table,
		cause: func(w *tunnel) {
			w.s.host.FlushRules(w.t)
			w.s.host.FlushRoutes(w.t, 51820)
		},
	},
}

// S11.3: each time 10^5 packets, and none of them elsewhere.
func TestPacketsLeaveByNoOtherWayWhenTheTunnelFails(t *testing.T) {
	t.Parallel()
	for _, d := range disasters {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) { d.test(newScene(t).newTunnel(t, 0)) })
		})
	}
}

// flooded is how many packets a guest sends.
const flooded = 100_000

func (d disaster) test(w *tunnel) {
	t, s := w.t, w.s
	n := s.network(t, throughTunnel(nil))
	g := s.join(t, n, vm("a"))
	working := func(when string) {
		t.Helper()
		if seen := g.Reach(t, "udp", exampleIP+":80"); seen.Addr() != w.exit.Addr {
			t.Errorf("%s: seen as %s, want %s", when, seen, w.exit.Addr)
		}
	}
	working("before")

	// What the host itself sends looks the same: the captures see it.
	leaving := map[string]*nettest.Capture{}
	for _, iface := range []string{"up0", "up1", "lo"} {
		leaving[iface] = s.host.Capture(t, iface, func(p nettest.Packet) bool { return lastWord("flood")(p) || inSubnet(p) })
	}
	open, other := netip.MustParseAddrPort(exampleIP+":4242"), netip.MustParseAddrPort(otherIP+":4243")
	for _, to := range []string{open.String(), neighbour + ":4242", "127.0.0.1:4242"} {
		say(t, s.host, to, "flood")
	}
	wg0 := s.host.Capture(t, "wg0", lastWord("flood"))
	g.Flood(t, 100, g.gateway, open)
	if wg0.Stop(t); wg0.Count() != 100 {
		t.Errorf("%d packets in the tunnel, want 100: the flood shows nothing", wg0.Count())
	}
	d.cause(w)
	g.Flood(t, flooded/2, g.gateway, open) // a connection of before, and a new one
	g.Flood(t, flooded/2, g.gateway, other)
	for iface, c := range leaving {
		if c.Stop(t); c.Count() != 1 {
			t.Errorf("%d packets on %s, want 1, that of the host itself", c.Count(), iface)
		}
	}

	faults, err := n.Check(t.Context())
	must(t, err)
	if d.fault != "" && !hasFault(faults, d.fault) || d.fault == "" && len(faults) > 0 {
		t.Errorf("Check says %+v, want %q", faults, d.fault)
	}
	if d.mend != nil {
		d.mend(w)
	}
	if d.lost {
		return
	}
	must(t, n.Repair(t.Context()))
	if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("after the repair Check says %+v, %v", faults, err)
	}
	working("after the repair")
}

// say sends a datagram.
func say(t *testing.T, from *nettest.Namespace, to, what string) {
	t.Helper()
	must(t, from.Do(func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "udp", to)
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte(what))
		return errors.Join(err, conn.Close())
	}))
}
