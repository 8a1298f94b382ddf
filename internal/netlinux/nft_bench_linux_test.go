package netlinux_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// policy returns a policy whose rules are for different networks: without ports, with
// one, with two or with a range.
func policy(rules int) *netconfig.Policy {
	p := &netconfig.Policy{Default: netconfig.Deny}
	for i := range rules {
		r := netconfig.Rule{Action: netconfig.Allow, Protocol: netconfig.TCP, To: netconfig.Destination{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24),
		}}
		switch https := (netconfig.PortRange{First: 443, Last: 443}); i % 4 {
		case 0:
			r.Ports = []netconfig.PortRange{https}
		case 1:
			r.Ports = []netconfig.PortRange{{First: 80, Last: 80}, https}
		case 2:
			r.Ports = []netconfig.PortRange{{First: 8000, Last: uint16(8000 + i%100)}}
		case 3:
			r.Protocol = netconfig.All
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

// planned returns the plan of a network with a policy of so many rules.
func planned(tb testing.TB, rules int) (netconfig.Config, *netplan.Plan) {
	tb.Helper()
	c := netconfig.Config{Bridge: "br0"}
	if rules > 0 {
		c.Egress = policy(rules)
	}
	p, err := netplan.Make(*c.WithDefaults(), netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/run/smartvm"})
	must(tb, err)
	return *c.WithDefaults(), p
}

// The first time there is nothing; from then on a policy is replaced by another.
func BenchmarkReplace(b *testing.B) {
	if !apart(b) {
		return
	}
	for _, rules := range []int{0, 500, 4096} {
		h := open(b)
		_, p := planned(b, rules)
		b.Run(fmt.Sprint("first/", rules), func(b *testing.B) {
			for b.Loop() {
				must(b, h.Replace(p.Tables))
				b.StopTimer()
				must(b, h.RemoveTables("smartvm-br0", p.Mark))
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprint("again/", rules), func(b *testing.B) {
			for b.Loop() {
				must(b, h.Replace(p.Tables))
			}
		})
		must(b, h.RemoveTables("smartvm-br0", p.Mark))
	}
}

// What a start and a stop of a VM do, without and with ports and a policy of its own.
func BenchmarkGuest(b *testing.B) {
	if !apart(b) {
		return
	}
	h := open(b)
	c, p := planned(b, 500)
	must(b, h.Replace(p.Tables))
	must(b, func() error { _, err := h.AddTAP("tap0", 0); return err }())
	plain := netplan.Guest{TAP: "tap0", MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, 2}, Addr: netip.MustParseAddr("172.30.0.2"), VM: "vm", Iface: "eth0"}
	port := plain
	port.Forwards = []netconfig.Forward{{HostPort: 8080, GuestPort: 80}}
	own := port
	own.Egress = policy(10)
	for _, tt := range []struct {
		name  string
		guest netplan.Guest
	}{{"plain", plain}, {"port", port}, {"policy", own}} {
		change := netplan.Attach(c, tt.guest)
		b.Run("add/"+tt.name, func(b *testing.B) {
			for b.Loop() {
				must(b, h.Add(change))
				b.StopTimer()
				must(b, h.Remove(change))
				b.StartTimer()
			}
		})
		b.Run("both/"+tt.name, func(b *testing.B) {
			for b.Loop() {
				must(b, h.Add(change))
				must(b, h.Remove(change))
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	_, p := planned(b, 500)
	for b.Loop() {
		must(b, netlinux.Compile(p.Tables[0]))
	}
}
