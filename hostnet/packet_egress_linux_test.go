package hostnet_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// to is a destination of a rule.
func to(text string) netconfig.Destination {
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	return netconfig.Destination{Prefix: netip.MustParsePrefix(text)}
}

// S10.1, with the stacks of both ends.
func TestPacketsAreDecidedAboutByTheFirstRuleThatMatches(t *testing.T) {
	t.Parallel()
	overlapping := []netconfig.Rule{
		{Action: netconfig.Deny, To: to(exampleIP), Protocol: netconfig.TCP, Ports: ports(81)},
		{Action: netconfig.Allow, To: to("203.0.113.0/24"), Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 80, Last: 81}}},
		{Action: netconfig.Deny, To: to("203.0.113.0/24"), Protocol: netconfig.TCP},
		{Action: netconfig.Allow, To: to(exampleIP), Protocol: netconfig.ICMP},
		{Action: netconfig.Deny, To: to("203.0.113.0/28")},
		{Action: netconfig.Allow, To: to(privateIP)},
		{Action: netconfig.Deny, To: to("10.0.0.0/8")},
		{Action: netconfig.Allow, Protocol: netconfig.UDP, Ports: ports(53, 80)},
		{Action: netconfig.Deny, Protocol: netconfig.UDP},
	}
	for _, def := range []netconfig.Action{netconfig.Allow, netconfig.Deny} {
		t.Run("default="+string(def), func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				policy := &netconfig.Policy{Default: def, Rules: overlapping}
				g := s.join(t, s.network(t, netconfig.Config{Egress: policy}), vm("a"))
				for _, tt := range []struct {
					network, to string
					want        bool
				}{
					{"tcp", exampleIP + ":80", true},
					{"tcp", exampleIP + ":81", false},
					{"tcp", otherIP + ":81", true},
					{"icmp", exampleIP, true},
					{"icmp", otherIP, false},
					{"udp", exampleIP + ":80", false},
					{"tcp", privateIP + ":80", true},
					{"udp", privateIP + ":81", true},
					{"icmp", privateIP, true},
					{"udp", resolverIP + ":80", true},
					{"udp", resolverIP + ":81", false},
					{"tcp", resolverIP + ":80", def == netconfig.Allow},
					{"icmp", resolverIP, def == netconfig.Allow},
				} {
					if tt.want {
						g.Reach(t, tt.network, tt.to)
					} else {
						g.Block(t, tt.network, tt.to)
					}
				}
				s.host.Reach(t, "tcp", exampleIP+":81") // it is about guests only
			})
		})
	}
}

// probe is one packet that opens a connection.
type probe struct {
	to    netip.Addr
	proto netconfig.Protocol
	port  uint16
}

func (p probe) packet(from netip.Addr) []byte {
	src, dst := netip.AddrPortFrom(from, 40000), netip.AddrPortFrom(p.to, p.port)
	if p.proto == netconfig.TCP {
		return nettest.SYN(src, dst)
	}
	if p.proto == netconfig.UDP {
		return nettest.UDP(src, dst, []byte("probe"))
	}
	return nettest.Echo(from, p.to, 7)
}

// probeOf is what a packet is as a probe.
func probeOf(p nettest.Packet) probe {
	protocols := map[int]netconfig.Protocol{1: netconfig.ICMP, 6: netconfig.TCP, 17: netconfig.UDP}
	return probe{p.Dst, protocols[p.Protocol], uint16(p.DstPort)}
}

// A policy of many rules decides in the kernel as it does on paper.
func TestPacketsOf500RulesAreDecidedAboutAsThePolicySays(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		random := rand.New(rand.NewPCG(500, 5))
		// Few addresses and ports, so that rules overlap.
		addr := func() netip.Addr {
			return netip.AddrFrom4([4]byte{20, byte(random.IntN(2)), byte(random.IntN(4)), byte(random.IntN(256))})
		}
		policy := &netconfig.Policy{Default: netconfig.Deny}
		for range 500 {
			r := netconfig.Rule{
				Action: []netconfig.Action{netconfig.Allow, netconfig.Deny}[random.IntN(2)], To: netconfig.Destination{Prefix: netip.PrefixFrom(addr(), 26+random.IntN(7)).Masked()},
				Protocol: []netconfig.Protocol{netconfig.All, netconfig.TCP, netconfig.UDP, netconfig.ICMP}[random.IntN(4)],
			}
			if r.Protocol == netconfig.TCP || r.Protocol == netconfig.UDP {
				for range random.IntN(3) {
					first := uint16(1 + random.IntN(100))
					r.Ports = append(r.Ports, netconfig.PortRange{First: first, Last: first + uint16(random.IntN(20))})
				}
			}
			policy.Rules = append(policy.Rules, r)
		}
		g := s.join(t, s.network(t, netconfig.Config{Egress: policy}), vm("a"))
		// More than the 1000 packets that a capture keeps would not be looked at.
		probes := map[probe]netconfig.Decision{}
		for len(probes) < 900 {
			p := probe{to: addr(), proto: []netconfig.Protocol{netconfig.TCP, netconfig.UDP, netconfig.ICMP}[random.IntN(3)]}
			if p.proto != netconfig.ICMP {
				p.port = uint16(1 + random.IntN(120))
			}
			probes[p] = policy.Decide(p.to, p.proto, p.port)
		}
		out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Outgoing && p.Dst.Is4() && p.Dst.As4()[0] == 20 })
		hits := map[int]uint64{}
		for p, decision := range probes {
			g.send(t, p.packet(g.Addr))
			hits[decision.Rule]++
		}
		passed := map[probe]bool{}
		for _, p := range out.Stop(t) {
			passed[probeOf(p)] = true
		}
		allowed := 0
		for p, decision := range probes {
			if want := decision.Action == netconfig.Allow; passed[p] != want {
				t.Errorf("%v passed: %t, but %+v", p, passed[p], decision)
			} else if want {
				allowed++
			}
		}
		if allowed == 0 || allowed == len(probes) || len(hits) < 100 {
			t.Errorf("%d of %d are allowed, by %d rules: that shows little", allowed, len(probes), len(hits))
		}
		n := s.network(t, netconfig.Config{}) // another value, as of another process
		got, _, err := n.Egress(t.Context())
		must(t, err)
		for i, r := range got.Rules {
			if r.Packets != hits[i] {
				t.Errorf("rule %d has %d hits, want %d", i, r.Packets, hits[i])
			}
		}
		if got.DefaultHits.Packets != hits[-1] {
			t.Errorf("the default has %d hits, want %d", got.DefaultHits.Packets, hits[-1])
		}
	})
}
