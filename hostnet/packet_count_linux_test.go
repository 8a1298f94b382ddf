package hostnet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

func TestPacketsAreCountedByTheRuleThatDecides(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
			{Action: netconfig.Allow, To: to(exampleIP), Protocol: netconfig.UDP, Ports: ports(80, 4000)},
			{Action: netconfig.Deny, To: to("203.0.113.0/24")},
			{Action: netconfig.Allow, Protocol: netconfig.UDP},
		}}})
		g := s.join(t, n, hostnet.Request{VM: "a", Egress: &netconfig.Policy{Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: to(resolverIP)},
		}}})
		sent := g.datagram(exampleIP+":4000", "12345678")
		for count, packet := range map[int][]byte{
			7: sent, 5: g.datagram(otherIP+":4000", "x"), 3: g.datagram(privateIP+":4000", "x"),
			2: g.datagram(resolverIP+":4000", "x"), 4: nettest.Echo(g.Addr, netip.MustParseAddr(privateIP), 1),
		} {
			for range count {
				g.send(t, packet)
			}
		}
		policy, vms, err := n.Egress(t.Context())
		must(t, err)
		got := []uint64{policy.DefaultHits.Packets}
		for _, r := range policy.Rules {
			got = append(got, r.Packets)
		}
		if fmt.Sprint(got) != "[4 7 5 3]" {
			t.Errorf("hits of the default and the rules: %v, want [4 7 5 3]", got)
		}
		if want := uint64(7 * len(sent)); policy.Rules[0].Bytes != want {
			t.Errorf("%d bytes, want %d", policy.Rules[0].Bytes, want)
		}
		if len(vms) != 1 || vms[0].VM != "a" || vms[0].Rules[0].Packets != 2 || vms[0].DefaultHits.Packets != 7+5+3+4 {
			t.Errorf("hits of the VM's policy: %+v", vms)
		}
	})
}

func TestPacketsOfAVMAreNarrowedByItsPolicyAndNeverWidened(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Rules: []netconfig.Rule{{Action: netconfig.Deny, To: to(exampleIP)}}}})
		narrow := s.join(t, n, hostnet.Request{VM: "narrow", Egress: &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
			{Action: netconfig.Allow, To: to(resolverIP)},
		}}})
		wide := s.join(t, n, hostnet.Request{VM: "wide", Egress: &netconfig.Policy{Rules: []netconfig.Rule{
			{Action: netconfig.Allow, To: to(exampleIP)}, {Action: netconfig.Allow, To: to(metadataIP)}, {Action: netconfig.Allow, To: to(gatewayIP)},
		}}})
		plain := s.join(t, n, vm("plain"))
		s.host.Serve(t, "tcp", "0.0.0.0:80")
		for _, tt := range []struct {
			g    *guest
			to   string
			want bool
		}{
			{narrow, resolverIP, true},
			{narrow, privateIP, false},
			{narrow, exampleIP, false},
			{wide, resolverIP, true},
			{wide, exampleIP, false},
			{wide, metadataIP, false},
			{wide, gatewayIP, false},
			{wide, plain.Addr.String(), false},
			{plain, privateIP, true},
			{plain, exampleIP, false},
		} {
			if tt.want {
				tt.g.Reach(t, "tcp", tt.to+":80")
			} else {
				tt.g.Block(t, "tcp", tt.to+":80")
			}
		}
		// It goes with its VM: the next one with the address has none.
		narrow.Close()
		narrow.nic.release(t)
		wide.Reach(t, "tcp", privateIP+":80")
	})
}

// The kernel's log is not read: it is the machine's, and silent about namespaces unless
// somebody switches that on. What is logged is dropped as well, beyond the limit too.
func TestPacketsThatAreLoggedAreDropped(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Deny, LogDefault: true, Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: to(exampleIP), Log: true}, {Action: netconfig.Allow, To: to(otherIP)},
		}}})
		g := s.join(t, n, vm("a"))
		const many = 200 // more than the 10 that are logged in a second
		out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.DstPort == 4000 })
		for range many {
			g.send(t, g.datagram(exampleIP+":4000", "x"))
			g.send(t, g.datagram(resolverIP+":4000", "x"))
		}
		g.send(t, g.datagram(otherIP+":4000", "x"))
		if packets := out.Stop(t); len(packets) != 1 || packets[0].Dst.String() != otherIP {
			t.Errorf("%d packets left, want the allowed one: %+v", out.Count(), packets)
		}
		policy, _, err := n.Egress(t.Context())
		must(t, err)
		if policy.Rules[0].Packets != many || policy.DefaultHits.Packets != many {
			t.Errorf("hits: %d of the rule, %d of the default, want %d each", policy.Rules[0].Packets, policy.DefaultHits.Packets, many)
		}
		logs := s.host.Logs(t, table)
		for _, prefix := range []string{netconfig.LogPrefix(bridge, 0), netconfig.LogPrefix(bridge, -1)} {
			if logs[prefix] != 10 {
				t.Errorf("rules that log, with packets per second: %v, want %q with 10", logs, prefix)
			}
		}
	})
}
