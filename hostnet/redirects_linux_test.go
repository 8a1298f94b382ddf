package hostnet_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// S9.4: it is the kernel that changes the setting.
func TestTunnelThatIsMadeLeavesTheRedirectsOfTheHostAsTheyWere(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.WireGuard)
	for name, other := range map[string]bool{"the only tunnel": false, "beside another": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				const path = "net/ipv4/conf/all/send_redirects"
				s := newScene(t)
				s.host.SetSysctl(t, path, "1")
				n := s.network(t, netconfig.Config{WireGuard: &netconfig.WireGuard{Tunnel: &netconfig.Tunnel{
					PrivateKey: netconfig.Key{1}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24")},
					Peers: []netconfig.Peer{{PublicKey: netconfig.Key{2}, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}},
				}}})
				if got := s.host.Sysctl(t, path); got != "0" {
					t.Errorf("with a tunnel it is %s: this kernel does not change it", got)
				}
				want := "1"
				if other {
					want = "0" // as every tunnel of the kernel's wants it
					must(t, s.host.Netlink().LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "wg9"}}))
				}
				must(t, n.Close())
				if got := s.host.Sysctl(t, path); got != want {
					t.Errorf("without the network it is %s, want %s", got, want)
				}
			})
		})
	}
}
