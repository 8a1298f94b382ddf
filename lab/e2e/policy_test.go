package e2e_test

import (
	"slices"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

// policyCase is a policy, and what it means for a guest.
type policyCase struct {
	name             string
	policy           *netconfig.Policy // nil: none
	passes, isDenied []probe
}

// policyCases are about the addresses of a [world].
func policyCases(t *testing.T) []policyCase {
	t.Helper()
	example, other, far := exampleIP, otherIP, farIP
	subnet := "203.0.113.0/24" // example and other
	cases := []policyCase{
		{
			"the default allows",
			policy(t, netconfig.Allow, "deny "+example+":81", "deny "+example+":82/udp", "deny "+other+"/icmp"),
			[]probe{{"tcp", example + ":80"}, {"tcp", other + ":81"}, {"udp", example + ":81"}, {"icmp", example}},
			[]probe{{"tcp", example + ":81"}, {"udp", example + ":82"}, {"icmp", other}},
		},
		{
			"the default denies",
			policy(t, netconfig.Deny, "allow "+example+":80,82", "allow "+other+":80-81/udp", "allow "+far+"/icmp"),
			[]probe{{"tcp", example + ":80"}, {"tcp", example + ":82"}, {"udp", other + ":81"}, {"icmp", far}},
			[]probe{{"tcp", example + ":81"}, {"udp", example + ":80"}, {"udp", other + ":82"}, {"icmp", example}, {"tcp", far + ":80"}},
		},
		{
			"an allow before a broader deny",
			policy(t, netconfig.Allow, "allow "+example+":80", "deny "+subnet),
			[]probe{{"tcp", example + ":80"}, {"tcp", far + ":80"}},
			[]probe{{"tcp", example + ":81"}, {"udp", example + ":80"}, {"icmp", other}},
		},
		{
			"the broader deny before the allow",
			policy(t, netconfig.Allow, "deny "+subnet, "allow "+example+":80"),
			[]probe{{"tcp", far + ":80"}},
			[]probe{{"tcp", example + ":80"}, {"icmp", other}},
		},
		{
			"a deny before a broader allow",
			policy(t, netconfig.Deny, "deny "+example+"/udp", "allow "+subnet+":80/udp", "allow "+example),
			[]probe{{"udp", other + ":80"}, {"tcp", example + ":80"}, {"icmp", example}},
			[]probe{{"udp", example + ":80"}, {"udp", other + ":81"}},
		},
	}
	all := policyCase{name: "there is no policy"} // the control: what was denied is there, and can be asked for
	for _, c := range cases {
		for _, p := range c.isDenied {
			if !slices.Contains(all.passes, p) {
				all.passes = append(all.passes, p)
			}
		}
	}
	return append(cases, all)
}

// policy has rules such as "deny 203.0.113.0/24:80/udp".
func policy(t *testing.T, def netconfig.Action, rules ...string) *netconfig.Policy {
	t.Helper()
	p := &netconfig.Policy{Default: def}
	for _, text := range rules {
		action := netconfig.Action(text[:len("deny")])
		if action != netconfig.Deny {
			action = netconfig.Allow
		}
		rule, err := netconfig.ParseRule(text[len(action)+1:])
		must(t, err)
		rule.Action = action
		p.Rules = append(p.Rules, rule)
	}
	return p
}

func TestEgressPolicyDecidesWhatAGuestReaches(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S10.1", "Rules for TCP, UDP, ICMP, single ports, several and ranges of them, and both default actions decide what leaves the host")
		claims(t, "S10.1", "The first rule that matches decides, an allow before a broader deny and the reverse")
		claims(t, "S10.2", "Answers to what is allowed reach the guest, also where the default action denies")
		claims(t, "S10.2", "A policy that is replaced holds at once for a guest that runs, and for its open connections")
		claims(t, "S10.1", "What a VM's own policy denies stays denied, whatever the network's policy allows")
		w := newWorld(t)
		cases := policyCases(t)
		s := w.site(smartvm.Options{Network: netconfig.Config{Egress: cases[0].policy}})
		vm, g := s.boot(s.networked(vmconfig.Network{Egress: policy(t, netconfig.Allow, "deny "+exampleIP+":83")}))
		tap := vm.TAPs()[0].Name
		network := s.manager.Network()
		own := probe{"tcp", exampleIP + ":83"}
		for i, c := range cases {
			if i > 0 {
				must(t, network.SetEgress(patient(t), c.policy))
			}
			c.isDenied = append(c.isDenied, own)
			w.try(g, tap, c)
		}
		w.host.Reach(t, own.network, own.to) // it is there, but not for this VM
		w.testOpenConnection(s, g, tap)
	})
}

// try has the guest ask for all that a case is about, and looks at what arrives in the
// internet.
func (w *world) try(g *guest.Guest, tap string, c policyCase) {
	t := w.t
	t.Helper()
	sent := watch(t, w.host, tap, fromGuest)
	arrived := watch(t, w.internet, "wan", func(p nettest.Packet) bool { return p.Src.String() == uplinkIP })
	var denied, passing []*guest.Task
	for _, p := range c.isDenied {
		denied = append(denied, p.ask(t, g))
	}
	for _, p := range c.passes {
		passing = append(passing, p.ask(t, g))
	}
	for i, p := range c.passes {
		if got := p.answered(t, passing[i]); p.network != "icmp" && got != uplinkIP {
			t.Errorf("%s: %s is answered to %q, want %s", c.name, p, got, uplinkIP)
		}
	}
	for i, p := range c.isDenied {
		sent.wait(p, 1)
		end(t, denied[i])
	}
	sent.stop()
	got := arrived.stop()
	for _, p := range c.isDenied {
		if slices.Contains(got, p) {
			t.Errorf("%s: %s arrives", c.name, p)
		}
	}
	for _, p := range c.passes {
		if !slices.Contains(got, p) {
			t.Errorf("%s: %s does not arrive, and yet there was an answer: the test sees nothing", c.name, p)
		}
	}
}

// testOpenConnection denies what a connection is open to, and allows it again.
func (w *world) testOpenConnection(s *site, g *guest.Guest, tap string) {
	t := w.t
	t.Helper()
	to := probe{"tcp", exampleIP + ":80"}
	sent := watch(t, w.host, tap, fromGuest)
	output(t, g, "mkfifo /tmp/say")
	conn, err := g.Start(patient(t), "nc "+exampleIP+" 80 <>/tmp/say") // its input does not end
	must(t, err)
	say := func(word string) { output(t, g, "echo "+word+" >/tmp/say") }
	say("one")
	must(t, conn.WaitOutput(patient(t), " one\n"))

	must(t, s.manager.Network().SetEgress(patient(t), policy(t, netconfig.Deny)))
	arrived := watch(t, w.internet, "wan", func(p nettest.Packet) bool { return p.Src.String() == uplinkIP })
	say("two")
	sent.more(to, 2) // it is sent again and again
	arrived.none("a connection that is denied now")

	must(t, s.manager.Network().SetEgress(patient(t), nil))
	must(t, conn.WaitOutput(patient(t), " two\n"))
	end(t, conn)
	sent.stop()
}
