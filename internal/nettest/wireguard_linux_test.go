package nettest_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/smartvm/smartvm/internal/nettest"
)

func TestUserspaceWireGuardReachesTheWorldThroughItsExit(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host := nettest.Host(t)
		world := host.Uplink(t, "up0", "198.51.100.1/24", "203.0.113.9/32")
		world.Serve(t, "tcp", "203.0.113.9:80")
		world.Serve(t, "tcp", "203.0.113.9:81")
		exit := nettest.NewExit(t, world, "192.0.2.2/24", "10.99.0.1/24")
		wg := host.UserspaceWireGuard(t, nettest.WireGuardConfig{Name: "wg0", Addrs: []string{"10.99.0.2/24"}, Visible: true})
		exit.Join(t, wg)

		// Its last packets may come when there is a route: they are told by their port.
		if seen := host.Reach(t, "tcp", "203.0.113.9:81"); seen.Addr() != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("without a route, the server saw %s", seen)
		}
		_, far, err := net.ParseCIDR("203.0.113.0/24")
		if err != nil {
			t.Fatal(err)
		}
		if err := host.Netlink().RouteAdd(&netlink.Route{Dst: far, LinkIndex: host.Link(t, "wg0").Attrs().Index}); err != nil {
			t.Fatal(err)
		}
		plain := host.Capture(t, "up0", func(p nettest.Packet) bool { return p.DstPort == 80 })
		inner := host.Capture(t, "wg0", func(p nettest.Packet) bool { return p.DstPort == 80 && p.Outgoing })
		if seen := host.Reach(t, "tcp", "203.0.113.9:80"); seen.Addr() != exit.Addr {
			t.Errorf("through the tunnel, the server saw %s, want %s", seen, exit.Addr)
		}
		if packets := plain.Stop(t); len(packets) > 0 {
			t.Errorf("%d packets passed the tunnel by", len(packets))
		}
		if packets := inner.Stop(t); len(packets) == 0 || packets[0].Src != wg.Addr {
			t.Errorf("in the tunnel: %+v", packets)
		}

		client, err := wgctrl.New()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		device, err := client.Device("wg0")
		if err != nil {
			t.Fatal(err)
		}
		if len(device.Peers) != 1 || device.Peers[0].LastHandshakeTime.IsZero() || device.PublicKey != wg.Public {
			t.Errorf("wgctrl sees %d peers", len(device.Peers))
		}
		wg.Close()
		if _, err := host.Netlink().LinkByName("wg0"); err == nil {
			t.Error("the link of a closed tunnel is there")
		}
	})
}
