package nettest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable.
type End struct {
	In    *Namespace
	Iface string
	Addrs []string // with the prefix's length: "192.0.2.1/24"
	MTU   int      // default 1500
}

// Connect joins two namespaces by a pair of veth links with addresses, and sets
// them up.
func Connect(tb testing.TB, a, b End) {
	tb.Helper()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: a.Iface, MTU: a.MTU},
		PeerName:  b.Iface, PeerMTU: uint32(b.MTU), PeerNamespace: netlink.NsFd(int(b.In.file.Fd())),
	}
	if err := a.In.nl.LinkAdd(pair); err != nil {
		tb.Fatalf("add the pair %s, %s: %v", a.Iface, b.Iface, err)
	}
	for _, end := range []End{a, b} {
		end.In.AddAddr(tb, end.Iface, end.Addrs...)
		end.In.Up(tb, end.Iface)
	}
}

// AddAddr gives a link addresses, such as "192.0.2.1/24".
func (n *Namespace) AddAddr(tb testing.TB, iface string, addrs ...string) {
	tb.Helper()
	for _, text := range addrs {
		addr, err := netlink.ParseAddr(text)
		if err != nil {
			tb.Fatal(err)
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD // usable at once
		}
		if err := n.nl.AddrAdd(n.Link(tb, iface), addr); err != nil {
			tb.Fatalf("give %s the address %s: %v", iface, text, err)
		}
	}
}

// AddRoute adds a route of the main table to a prefix, such as "0.0.0.0/0", by way of
// a gateway's address.
func (n *Namespace) AddRoute(tb testing.TB, to, via string) {
	tb.Helper()
	prefix, gateway := netip.MustParsePrefix(to), netip.MustParseAddr(via)
	route := netlink.Route{Gw: gateway.AsSlice(), Dst: &net.IPNet{
		IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}}
	if err := n.nl.RouteAdd(&route); err != nil {
		tb.Fatalf("add a route to %s via %s: %v", to, via, err)
	}
}

// Uplink gives a namespace the way out that hosts have: the link iface with the
// address addr ("198.51.100.1/24"), and a default route through it. What is behind
// it is returned: a namespace with the last address but one of the same subnet
// ("198.51.100.254") on its link "wan", and with extra addresses on its lo, that
// stand for the rest of the world.
func (n *Namespace) Uplink(tb testing.TB, iface, addr string, extra ...string) *Namespace {
	tb.Helper()
	world := NewNamespace(tb)
	prefix := netip.MustParsePrefix(addr)
	gateway := last(prefix)
	Connect(tb, End{In: n, Iface: iface, Addrs: []string{addr}},
		End{In: world, Iface: "wan", Addrs: []string{netip.PrefixFrom(gateway, prefix.Bits()).String()}})
	world.AddAddr(tb, "lo", extra...)
	n.AddRoute(tb, "0.0.0.0/0", gateway.String())
	return world
}

// last returns the last address of an IPv4 prefix that a link can have.
func last(prefix netip.Prefix) netip.Addr {
	addr := prefix.Masked().Addr().As4()
	for bit := prefix.Bits(); bit < 31; bit++ {
		addr[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(addr)
}

// Masquerade makes a router of the namespace that hides what it forwards behind
// the address of the link oif.
func (n *Namespace) Masquerade(tb testing.TB, oif string) {
	tb.Helper()
	n.SetSysctl(tb, "net/ipv4/ip_forward", "1")
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, oif)
	err := n.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "masquerade"})
		chain := conn.AddChain(&nftables.Chain{
			Table: table, Name: "postrouting", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Masq{},
		}})
		return conn.Flush()
	})
	if err != nil {
		tb.Fatal("masquerade: ", err)
	}
}
