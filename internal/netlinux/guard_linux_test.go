package netlinux_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// guarded makes a network with so many guests, the first of which is running.
func guarded(t *testing.T, guests int) (*netplan.Plan, *nettest.Guest) {
	t.Helper()
	h := open(t)
	to := addBridge(t, h, "br0")
	c := *(&netconfig.Config{Bridge: "br0", Egress: policy(50)}).WithDefaults()
	p, err := netplan.Make(c, netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/run/user dir"})
	must(t, err)
	var all []netplan.Guest
	for i := range guests {
		g := guest(fmt.Sprint("tap", i), byte(2+i))
		g.Egress = nil
		addPort(t, h, g.TAP, to)
		all = append(all, g)
	}
	p = p.With(all)
	must(t, h.Replace(p.Tables))
	return p, nettest.NewGuest(t, nettest.GuestConfig{TAP: "tap0", MAC: all[0].MAC.String(), Addr: all[0].Addr.String() + "/24", Gateway: "172.30.0.1"})
}

func TestGuardLetsInWhatHasTheGuestsAddresses(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		_, g := guarded(t, 1)
		gateway := g.Resolve(t, "172.30.0.1")
		own, other := g.Addr, netip.MustParseAddr("172.30.0.9")
		to := netip.MustParseAddrPort("192.0.2.1:7") // not the host: where br_netfilter is at work, those are dropped on the bridge
		spoofed := nettest.MAC{2, 0, 0, 0, 0, 9}
		ip := func(mac nettest.MAC, from netip.Addr) nettest.Frame {
			return nettest.Frame{To: gateway, From: mac, Type: nettest.TypeIPv4, Payload: nettest.UDP(netip.AddrPortFrom(from, 7), to, []byte("x"))}
		}
		arp := func(mac, inside nettest.MAC, from netip.Addr) nettest.Frame {
			return nettest.Frame{To: nettest.Broadcast, From: mac, Type: nettest.TypeARP, Payload: nettest.ARP{FromMAC: inside, FromAddr: from, ToAddr: to.Addr()}.Bytes()}
		}
		six := netip.MustParseAddrPort("[fe80::1]:7")
		for _, tt := range []struct {
			name  string
			frame nettest.Frame
			in    bool
		}{
			{"own", ip(g.MAC, own), true},
			{"MAC", ip(spoofed, own), false},
			{"address", ip(g.MAC, other), false},
			{"no address", ip(g.MAC, netip.IPv4Unspecified()), false},
			{"ARP", arp(g.MAC, g.MAC, own), true},
			{"ARP probe", arp(g.MAC, g.MAC, netip.IPv4Unspecified()), true},
			{"ARP of another MAC", arp(spoofed, g.MAC, own), false},
			{"ARP for another MAC", arp(g.MAC, spoofed, own), false},
			{"ARP for another address", arp(g.MAC, g.MAC, other), false},
			{"IPv6", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv6, Payload: nettest.UDP(six, six, nil)}, false},
			{"spoofed in a VLAN", func() nettest.Frame { f := ip(g.MAC, other); f.VLAN = 7; return f }(), false},
			{"strange", nettest.Frame{To: gateway, From: g.MAC, Type: 0x1234, Payload: make([]byte, 50)}, false},
		} {
			capture := nettest.Host(t).Capture(t, "br0", func(p nettest.Packet) bool {
				return !p.Outgoing && string(p.Payload[:20]) == string(tt.frame.Payload[:20]) && p.From == tt.frame.From
			})
			g.Send(t, tt.frame)
			if got := len(capture.Stop(t)) == 1; got != tt.in {
				t.Errorf("%s: came in: %t, want %t", tt.name, got, tt.in)
			}
		}
	})
}

// The netdev chains of the old and of the new table are on the same devices.
func TestReplaceLeavesNoGapForAHundredGuests(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		p, g := guarded(t, 100)
		h := open(t)
		gateway := g.Resolve(t, "172.30.0.1")
		spoof := netip.MustParseAddr("172.30.0.200")
		capture := nettest.Host(t).Capture(t, "br0", func(p nettest.Packet) bool { return p.Src == spoof })
		frame := nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: nettest.UDP(netip.AddrPortFrom(spoof, 7), netip.MustParseAddrPort("172.30.0.1:7"), nil)}
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			sent := 0
			for ; ; sent++ {
				select {
				case <-stop:
					done <- sent
					return
				default:
					g.Send(t, frame)
				}
			}
		}()
		for range 20 {
			if err := h.Replace(p.Tables); err != nil {
				t.Error(err)
				break
			}
		}
		close(stop)
		if sent := <-done; sent < 1000 {
			t.Errorf("only %d frames were sent", sent)
		}
		if passed := capture.Stop(t); len(passed) > 0 {
			t.Errorf("%d spoofed frames came in", capture.Count())
		}
		if missing, err := h.Missing(p.Tables); err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
		if got := g.Probe(nettest.Probe{Network: "icmp", To: "172.30.0.1", Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Errorf("the guest is cut off: %v", got)
		}
	})
}
