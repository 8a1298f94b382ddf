package netlinux_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// router is a host between a client, on its link in0, and servers, on out0.
type router struct {
	*netlinux.Host
	host, client, world *nettest.Namespace
}

// Addresses of servers, each at tcp and udp 80, 81 and 90.
var servers = []string{"10.1.2.3", "10.1.2.4", "10.16.0.1", "10.255.0.1", "198.51.100.254"}

func newRouter(t *testing.T) router {
	t.Helper()
	host, client := nettest.Host(t), nettest.NewNamespace(t)
	nettest.Connect(t, nettest.End{In: host, Iface: "in0", Addrs: []string{"172.30.0.1/24"}},
		nettest.End{In: client, Iface: "eth0", Addrs: []string{"172.30.0.2/24", "172.30.0.3/24"}})
	client.AddRoute(t, "0.0.0.0/0", "172.30.0.1")
	world := host.Uplink(t, "out0", "198.51.100.1/24", "10.1.2.3/32", "10.1.2.4/32", "10.16.0.1/32", "10.255.0.1/32")
	world.AddRoute(t, "172.30.0.0/24", "198.51.100.1")
	host.SetSysctl(t, "net/ipv4/ip_forward", "1")
	for _, network := range []string{"tcp", "udp"} {
		for _, server := range servers {
			for _, port := range []string{"80", "81", "90"} {
				world.Serve(t, network, server+":"+port)
			}
		}
		host.Serve(t, network, "172.30.0.1:80")
	}
	return router{open(t), host, client, world}
}

// load makes a table of chains and sets.
func (r router) load(t *testing.T, sets []ruleset.Set, chains ...ruleset.Chain) {
	t.Helper()
	must(t, r.Replace([]ruleset.Table{{Family: ruleset.Inet, Name: "t", Sets: sets, Chains: chains}}))
}

func forward(rules ...ruleset.Rule) ruleset.Chain { return base("c", "filter", "forward", 0, rules...) }

// try is what a client tries to reach: network, address and port; its own address if
// it is not the first one.
type try struct{ network, to, from string }

func (r router) check(t *testing.T, reached, blocked []try) {
	t.Helper()
	for _, p := range append(reached, blocked...) {
		patience := nettest.Long
		want := len(reached) > 0
		if want {
			reached = reached[1:]
		} else {
			patience = nettest.Short
		}
		probe := nettest.Probe{Network: p.network, To: p.to, Timeout: patience}
		if p.from != "" {
			probe.From = p.from + ":0"
		}
		if got := r.client.Probe(probe); (got.Verdict == nettest.Reached) != want {
			t.Errorf("%v: %v, want reached: %t", p, got, want)
		}
	}
}

func TestMatchesMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	type tries = []try
	const local, lo, hi = "172.30.0.1:80", "172.30.0.2", "172.30.0.3"
	a, b, c := "10.1.2.3:80", "10.1.2.4:80", "198.51.100.254:80"
	ports := []ruleset.Field{ruleset.L4Proto, ruleset.Port}
	sets := []ruleset.Set{
		{Name: "ports", Key: ports, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n8(17)), one(n16(80))}}}},
		{Name: "links", Key: []ruleset.Field{ruleset.InIface, ruleset.Port}, Elements: []ruleset.Element{{Key: []ruleset.Range{one(name("in0")), one(n16(81))}}}},
		{Name: "nets", Key: []ruleset.Field{ruleset.Destination}, Interval: true, Elements: []ruleset.Element{
			{Key: []ruleset.Range{{Min: addr("10.1.2.0"), Max: addr("10.1.2.3")}}}, {Key: []ruleset.Range{{Min: addr("224.0.0.0"), Max: addr("255.255.255.255")}}},
		}},
		{Name: "marks", Key: []ruleset.Field{ruleset.Mark}, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n32(0x1234))}}}},
	}
	marked := base("m", "filter", "prerouting", -150, rule(do(ruleset.SetMark{Mark: 0x1234}), is(ruleset.Port, n16(81))))
	udp, tcp := is(ruleset.L4Proto, n8(17)), is(ruleset.L4Proto, n8(6))
	for _, tt := range []struct {
		name             string
		drop             []ruleset.Match // in the forward chain
		reached, blocked tries
	}{
		{"link", []ruleset.Match{is(ruleset.InIface, name("in0")), is(ruleset.OutIface, name("out0"))}, tries{{"tcp", local, ""}}, tries{{"tcp", a, ""}}},
		{"other link", []ruleset.Match{is(ruleset.InIface, name("in"))}, tries{{"tcp", a, ""}}, nil},
		{"not a link", []ruleset.Match{not(is(ruleset.InIface, name("in0"))), udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"address", []ruleset.Match{is(ruleset.Destination, addr("10.1.2.3"))}, tries{{"tcp", b, ""}}, tries{{"tcp", a, ""}}},
		{"source", []ruleset.Match{is(ruleset.Source, addr(hi))}, tries{{"tcp", a, lo}}, tries{{"tcp", a, hi}}},
		{"not an address", []ruleset.Match{is(ruleset.InIface, name("in0")), not(is(ruleset.Destination, addr("10.1.2.3")))}, tries{{"tcp", a, ""}}, tries{{"tcp", b, ""}}},
		{"prefix of whole bytes", []ruleset.Match{within(ruleset.Destination, "10.0.0.0/8")}, tries{{"tcp", c, ""}}, tries{{"tcp", a, ""}, {"tcp", "10.255.0.1:80", ""}}},
		{"prefix", []ruleset.Match{within(ruleset.Destination, "10.0.0.0/12")}, tries{{"tcp", "10.16.0.1:80", ""}, {"tcp", c, ""}}, tries{{"tcp", a, ""}}},
		{"not a prefix", []ruleset.Match{is(ruleset.InIface, name("in0")), not(within(ruleset.Destination, "10.0.0.0/12"))}, tries{{"tcp", a, ""}}, tries{{"tcp", "10.16.0.1:80", ""}}},
		{"range", []ruleset.Match{in(ruleset.Destination, addr("10.1.2.4"), addr("10.20.0.0"))}, tries{{"tcp", a, ""}, {"tcp", "10.255.0.1:80", ""}}, tries{{"tcp", b, ""}, {"tcp", "10.16.0.1:80", ""}}},
		{"not a range", []ruleset.Match{is(ruleset.InIface, name("in0")), not(in(ruleset.Destination, addr("10.1.2.4"), addr("10.20.0.0")))}, tries{{"tcp", b, ""}}, tries{{"tcp", a, ""}}},
		{"protocol", []ruleset.Match{udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"port", []ruleset.Match{tcp, is(ruleset.Port, n16(81))}, tries{{"tcp", a, ""}, {"udp", "10.1.2.3:81", ""}}, tries{{"tcp", "10.1.2.3:81", ""}}},
		{"ports", []ruleset.Match{in(ruleset.Port, n16(81), n16(90))}, tries{{"udp", a, ""}}, tries{{"udp", "10.1.2.3:81", ""}, {"tcp", "10.1.2.3:90", ""}}},
		{"ICMP type", []ruleset.Match{is(ruleset.ICMPType, n8(8))}, tries{{"tcp", a, ""}}, tries{{"icmp", "10.1.2.3", ""}}},
		{"other ICMP type", []ruleset.Match{is(ruleset.ICMPType, n8(3))}, tries{{"icmp", "10.1.2.3", ""}}, nil},
		{"TCP flags", []ruleset.Match{is(ruleset.TCPFlags, n8(2))}, tries{{"udp", a, ""}}, tries{{"tcp", a, ""}}},
		{"no such TCP flags", []ruleset.Match{not(is(ruleset.TCPFlags, n8(2|16)))}, tries{{"tcp", a, ""}, {"udp", a, ""}}, nil},
		{"IPv4", []ruleset.Match{is(ruleset.NFProto, n8(2))}, tries{{"tcp", local, ""}}, tries{{"tcp", a, ""}}},
		{"IPv6", []ruleset.Match{is(ruleset.NFProto, n8(10))}, tries{{"tcp", a, ""}}, nil},
		{"EtherType", []ruleset.Match{is(ruleset.EtherType, n16(0x800))}, tries{{"tcp", local, ""}}, tries{{"tcp", a, ""}}},
		{"new connections", []ruleset.Match{is(ruleset.CTState, n32(ruleset.StateNew)), udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"known connections", []ruleset.Match{is(ruleset.CTState, n32(ruleset.StateEstablished|ruleset.StateRelated)), udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"any but both", []ruleset.Match{not(is(ruleset.CTState, n32(ruleset.StateEstablished|ruleset.StateNew)))}, tries{{"tcp", a, ""}, {"udp", a, ""}}, nil},
		{"replies", []ruleset.Match{is(ruleset.CTDirection, n8(ruleset.DirectionReply)), udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"not replies", []ruleset.Match{not(is(ruleset.CTDirection, n8(ruleset.DirectionReply))), udp}, tries{{"tcp", a, ""}}, tries{{"udp", a, ""}}},
		{"translated", []ruleset.Match{is(ruleset.CTStatus, n32(ruleset.StatusDNAT))}, tries{{"tcp", a, ""}}, nil},
		{"mark", []ruleset.Match{is(ruleset.Mark, n32(0x1234))}, tries{{"tcp", a, ""}}, tries{{"tcp", "10.1.2.3:81", ""}}},
		{"marks", []ruleset.Match{in(ruleset.Mark, n32(0x1200), n32(0x12ff))}, tries{{"tcp", a, ""}}, tries{{"tcp", "10.1.2.3:81", ""}}},
		{"not the marks", []ruleset.Match{not(in(ruleset.Mark, n32(0), n32(0x12ff)))}, tries{{"tcp", a, ""}, {"tcp", "10.1.2.3:81", ""}}, nil},
		{"set", []ruleset.Match{inSet("ports", ports...)}, tries{{"tcp", a, ""}, {"udp", "10.1.2.3:81", ""}}, tries{{"udp", a, ""}}},
		{"not in a set", []ruleset.Match{is(ruleset.InIface, name("in0")), not(inSet("ports", ports...))}, tries{{"udp", a, ""}}, tries{{"tcp", a, ""}}},
		{"set of links", []ruleset.Match{inSet("links", ruleset.InIface, ruleset.Port)}, tries{{"tcp", a, ""}}, tries{{"tcp", "10.1.2.3:81", ""}}},
		{"set of networks", []ruleset.Match{inSet("nets", ruleset.Destination)}, tries{{"tcp", b, ""}}, tries{{"tcp", a, ""}}},
		{"set of marks", []ruleset.Match{inSet("marks", ruleset.Mark)}, tries{{"tcp", a, ""}}, tries{{"tcp", "10.1.2.3:81", ""}}},
		{"MAC", []ruleset.Match{is(ruleset.EtherSource, ruleset.Value{2, 9, 9, 9, 9, 9})}, tries{{"tcp", a, ""}}, nil},
		{"all", nil, tries{{"tcp", local, ""}}, tries{{"tcp", a, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				r := newRouter(t)
				r.load(t, sets, forward(rule(do(drop), tt.drop...)), marked)
				r.check(t, tt.reached, tt.blocked)
			})
		})
	}
}

func TestDestinationKindIsOfTheHostsOwnAddresses(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		r := newRouter(t)
		r.load(t, nil, base("c", "filter", "prerouting", 0, rule(do(drop), is(ruleset.InIface, name("in0")), is(ruleset.DestinationKind, n32(ruleset.KindLocal)))))
		r.check(t, []try{{"tcp", "10.1.2.3:80", ""}}, []try{{"tcp", "172.30.0.1:80", ""}})
	})
}

func TestVerdictMapsDecideAndCount(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		r := newRouter(t)
		key := []ruleset.Field{ruleset.Destination, ruleset.L4Proto, ruleset.Port}
		element := func(from, to string, proto uint8, first, last uint16, v ruleset.Verdict, comment string) ruleset.Element {
			return ruleset.Element{Verdict: &v, Comment: comment, Key: []ruleset.Range{{Min: addr(from), Max: addr(to)}, one(n8(proto)), {Min: n16(first), Max: n16(last)}}}
		}
		sets := []ruleset.Set{
			{Name: "m", Key: key, Verdicts: true, Interval: true, Counter: true, Elements: []ruleset.Element{
				element("10.0.0.0", "10.255.255.255", 6, 80, 80, accept, "rule 0"), element("198.51.100.0", "198.51.100.255", 6, 80, 80, accept, "rule 0"),
				element("10.0.0.0", "10.255.255.255", 6, 81, 90, drop, "rule 1"), element("10.1.2.3", "10.1.2.3", 17, 0, 65535, ruleset.Verdict{Kind: ruleset.Goto, Chain: "d"}, "rule 2"),
				element("10.1.2.4", "10.1.2.4", 17, 0, 65535, ruleset.Verdict{Kind: ruleset.Jump, Chain: "r"}, "rule 3"),
			}},
			{Name: "s", Key: []ruleset.Field{ruleset.Source}, Verdicts: true, Elements: []ruleset.Element{{Key: []ruleset.Range{one(addr("172.30.0.3"))}, Verdict: &drop}}},
		}
		r.load(t, sets, ruleset.Chain{Name: "d", Rules: []ruleset.Rule{rule(do(drop))}}, ruleset.Chain{Name: "r", Rules: []ruleset.Rule{rule(do(ruleset.Verdict{Kind: ruleset.Return}))}},
			forward(rule(do(accept), is(ruleset.CTDirection, n8(ruleset.DirectionReply))),
				rule(do(ruleset.VerdictMap{Key: []ruleset.Field{ruleset.Source}, Map: "s"})),
				rule(do(ruleset.VerdictMap{Key: key, Map: "m"})), rule(do(accept), is(ruleset.Destination, addr("10.1.2.4"))), rule(do(drop))))
		r.check(t, []try{{"tcp", "10.1.2.3:80", ""}, {"tcp", "198.51.100.254:80", ""}, {"udp", "10.1.2.4:80", ""}},
			[]try{{"tcp", "10.1.2.3:80", "172.30.0.3"}, {"tcp", "10.1.2.3:81", ""}, {"tcp", "10.255.0.1:90", ""}, {"udp", "10.1.2.3:80", ""}, {"tcp", "198.51.100.254:81", ""}})
		counts, err := r.SetCounts(ruleset.Inet, "t", "m")
		must(t, err)
		for _, comment := range []string{"rule 0", "rule 1", "rule 2", "rule 3"} {
			if c := counts[comment]; c.Packets < 1 || c.Bytes < 28*c.Packets {
				t.Errorf("%s: %+v", comment, c)
			}
		}
		if c := counts["rule 0"]; len(counts) != 4 || c.Packets < 8 { // two connections of at least SYN, ACK, data, FIN
			t.Errorf("counts %+v", counts)
		}
	})
}

func TestTranslationsLeadWhereTheirMapsSay(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		r := newRouter(t)
		key := []ruleset.Field{ruleset.Destination, ruleset.L4Proto, ruleset.Port}
		sets := []ruleset.Set{
			{Name: "one", Key: key, Data: []ruleset.Field{ruleset.Destination, ruleset.Port}, Elements: []ruleset.Element{{
				Key: []ruleset.Range{one(addr("172.30.0.1")), one(n8(6)), one(n16(8080))}, Data: []ruleset.Value{addr("10.1.2.3"), n16(81)},
			}}},
			{Name: "any", Key: key[1:], Data: []ruleset.Field{ruleset.Destination, ruleset.Port}, Elements: []ruleset.Element{{
				Key: []ruleset.Range{one(n8(17)), one(n16(53))}, Data: []ruleset.Value{addr("10.1.2.4"), n16(90)},
			}}},
		}
		local := is(ruleset.DestinationKind, n32(ruleset.KindLocal))
		r.load(t, sets,
			base("d", "nat", "prerouting", -100, rule(do(ruleset.DNAT{Key: key, Map: "one"}), local), rule(do(ruleset.DNAT{Key: key[1:], Map: "any"}), local)),
			base("s", "nat", "postrouting", 100, rule(do(ruleset.Masquerade{}), is(ruleset.OutIface, name("out0")))),
			forward(rule(do(accept), is(ruleset.CTStatus, n32(ruleset.StatusDNAT))), rule(do(drop))))
		if seen := r.client.Reach(t, "tcp", "172.30.0.1:8080"); seen.Addr() != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("seen as %v", seen)
		}
		r.client.Reach(t, "udp", "198.51.100.1:53")
		r.check(t, nil, []try{{"tcp", "10.1.2.3:80", ""}, {"udp", "172.30.0.1:8080", ""}, {"udp", "10.1.2.3:53", ""}})
	})
}

// A limit that ends its rule must not end the one that drops.
func TestLoggedPacketsAreDroppedAboveTheLimitToo(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		r := newRouter(t)
		logged := rule(do(ruleset.Log{Prefix: "smartvm test: ", PerSecond: 1}, drop), is(ruleset.L4Proto, n8(17)))
		r.load(t, nil, forward(logged))
		capture := r.host.Capture(t, "out0", func(p nettest.Packet) bool { return p.Protocol == 17 })
		must(t, r.client.Do(func() error { return flood("10.1.2.3:80", 1000) }))
		if got := capture.Stop(t); len(got) > 0 {
			t.Errorf("%d of 1000 packets passed", capture.Count())
		}
		r.check(t, []try{{"tcp", "10.1.2.3:80", ""}}, nil)
	})
}

func TestSegmentSizeIsClampedToTheRoute(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		r := newRouter(t)
		must(t, r.host.Netlink().LinkSetMTU(r.host.Link(t, "out0"), 1300))
		r.load(t, nil, forward(rule(do(ruleset.ClampMSS{}), is(ruleset.OutIface, name("out0")), is(ruleset.TCPFlags, n8(2)))))
		capture := r.host.Capture(t, "out0", func(p nettest.Packet) bool { return p.Outgoing && p.DstPort == 80 })
		r.client.Reach(t, "tcp", "10.1.2.3:80")
		packets := capture.Stop(t)
		if len(packets) == 0 {
			t.Fatal("no SYN")
		}
		tcp := packets[0].Payload[20:]
		if flags, option := tcp[13], tcp[20:22]; flags != 2 || !cmp.Equal(option, []byte{2, 4}) {
			t.Fatalf("no SYN with a segment size: % x", tcp)
		}
		if mss := binary.BigEndian.Uint16(tcp[22:]); mss != 1300-40 {
			t.Errorf("segment size %d", mss)
		}
	})
}
