package hostnet_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// lastWord matches datagrams that leave and whose data ends with a word. ICMP errors about
// them have the same end.
func lastWord(word string) func(nettest.Packet) bool {
	return func(p nettest.Packet) bool {
		return p.Outgoing && p.Protocol == 17 && strings.HasSuffix(string(p.Payload), word)
	}
}

// S10.2: what both policies deny is denied while one takes the place of the other, and
// what the network forbids is forbidden.
func TestPacketsFindNoGapWhileThePolicyIsReplaced(t *testing.T) {
	for name, policies := range map[string][2]*netconfig.Policy{
		"default deny": {
			{Default: netconfig.Deny, Rules: []netconfig.Rule{{Action: netconfig.Allow, To: to(otherIP)}}},
			{Default: netconfig.Deny, Rules: []netconfig.Rule{{Action: netconfig.Allow, Protocol: netconfig.UDP, Ports: ports(53)}, {Action: netconfig.Allow, To: to(otherIP)}}},
		},
		"default allow": {
			{Rules: []netconfig.Rule{{Action: netconfig.Deny, To: to(exampleIP)}}},
			{Rules: []netconfig.Rule{{Action: netconfig.Allow, To: to(otherIP)}, {Action: netconfig.Deny, To: to("203.0.113.0/24"), Protocol: netconfig.UDP, Ports: ports(81, 4000)}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				n := s.network(t, netconfig.Config{Egress: policies[0]})
				g := s.join(t, n, vm("a"))
				service := s.host.Serve(t, "udp", uplinkIP+":4000")
				out := s.host.Capture(t, "up0", lastWord("denied"))
				allowed := s.host.Capture(t, "up0", lastWord("allowed"))
				frame := func(packet []byte) nettest.Frame {
					return nettest.Frame{To: g.gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: packet}
				}
				denied := []nettest.Frame{
					frame(g.datagram(exampleIP+":4000", "denied")), frame(g.datagram(exampleIP+":4000", "denied")),
					frame(g.datagram(metadataIP+":4000", "denied")), frame(g.datagram(uplinkIP+":4000", "denied")),
				}
				const rounds = 25_000
				var flood sync.WaitGroup
				var done time.Time
				flood.Go(func() {
					for range rounds {
						for _, f := range denied {
							g.Send(t, f)
						}
					}
					done = time.Now()
				})
				ended := make(chan struct{})
				go func() { flood.Wait(); close(ended) }()
				replaced := 0
				for flooding := true; flooding; replaced++ {
					must(t, n.SetEgress(t.Context(), policies[(replaced+1)%2]))
					g.Send(t, frame(g.datagram(otherIP+":4000", "allowed")))
					select {
					case <-ended:
						flooding = false
					default:
					}
				}
				if done.IsZero() {
					t.Fatal("the flood failed")
				}
				t.Logf("%d packets, %d policies", rounds*len(denied), replaced)
				none(t, out, "what both policies deny, on the uplink")
				if got := len(service.Peers()); got != 0 {
					t.Errorf("the host's service got %d datagrams", got)
				}
				if allowed.Stop(t); allowed.Count() != replaced {
					t.Errorf("%d of %d packets that both policies allow were seen", allowed.Count(), replaced)
				}
			})
		})
	}
}

func TestPacketsOfAnOpenConnectionStopWhenItIsDenied(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		g := s.join(t, n, vm("a"))
		denied, other := g.Open(t, "tcp", exampleIP+":80"), g.Open(t, "tcp", otherIP+":80")
		datagrams := g.Open(t, "udp", exampleIP+":80")
		for _, c := range []*nettest.Conn{denied, other, datagrams} {
			if got := c.Ask(nettest.Long); got.Verdict != nettest.Reached {
				t.Fatal("before: ", got)
			}
		}
		must(t, n.SetEgress(t.Context(), &netconfig.Policy{Rules: []netconfig.Rule{{Action: netconfig.Deny, To: to(exampleIP)}}}))
		out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Outgoing && p.Dst == netip.MustParseAddr(exampleIP) })
		for _, c := range []*nettest.Conn{denied, datagrams} {
			if got := c.Ask(nettest.Short); got.Verdict == nettest.Reached {
				t.Error("after: ", got)
			}
		}
		none(t, out, "the connections that are denied")
		if got := other.Ask(nettest.Long); got.Verdict != nettest.Reached {
			t.Error("the other connection: ", got)
		}
		must(t, n.SetEgress(t.Context(), nil))
		if got := datagrams.Ask(nettest.Long); got.Verdict != nettest.Reached {
			t.Error("allowed again: ", got)
		}
	})
}

// The kernel translates the addresses of a connection as it did when that began: one that
// begins while the rules are gone, and never pauses, would go on with the guest's address.
func TestPacketsOfAConnectionThatBeganWithoutRulesAreTranslatedAfterARepair(t *testing.T) {
	hosttest.Need(t, hosttest.Tool("nft"))
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		g := s.join(t, n, vm("a"))
		c := g.Open(t, "udp", exampleIP+":80")
		s.host.FlushRules(t)
		s.host.Load(t, "tracking.nft") // others have the kernel track connections all the same
		if got := c.Ask(nettest.Short); got.Verdict == nettest.Reached {
			t.Fatal("without rules: ", got)
		}
		must(t, n.Repair(t.Context()))
		if got := c.Ask(nettest.Long); got.Verdict != nettest.Reached {
			t.Error("repaired: ", got)
		}
	})
}

// A VM never runs without its policy: its first packet meets it.
func TestPacketsMeetThePolicyFromTheFirstOn(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{{Action: netconfig.Allow, To: to(otherIP)}}}})
		first := s.join(t, n, vm("first"))
		out := s.host.Capture(t, "up0", lastWord("denied"))
		allowed := s.host.Capture(t, "up0", lastWord("allowed"))
		const guests = 8
		for i := range guests {
			request := vm(string(rune('a' + i)))
			request.Egress = &netconfig.Policy{Rules: []netconfig.Rule{{Action: netconfig.Deny, To: to(otherIP), Protocol: netconfig.UDP, Ports: ports(81)}}}
			// The flood starts with the guest, before anybody has said that it is ready.
			g := s.join(t, n, request)
			g.send(t, g.datagram(exampleIP+":4000", "denied"))
			g.send(t, g.datagram(otherIP+":81", "denied"))
			g.send(t, g.datagram(otherIP+":4000", "allowed"))
			first.send(t, first.datagram(exampleIP+":4000", "denied"))
			g.Close()
			g.nic.release(t)
			first.send(t, first.datagram(exampleIP+":4000", "denied"))
		}
		none(t, out, "what is denied")
		if allowed.Stop(t); allowed.Count() != guests {
			t.Errorf("%d packets that are allowed, want %d", allowed.Count(), guests)
		}
	})
}
