package hostnet_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// Networks of one runtime directory or of several: the last one that goes switches
// forwarding off again, in whichever order.
func TestLastNetworkSwitchesForwardingBack(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		for _, owners := range []int{1, 3} {
			for _, order := range [][3]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
				for _, before := range []string{"0", "1"} {
					t.Run(fmt.Sprint(owners, " owners ", order, " before ", before), func(t *testing.T) { testForwarding(t, owners, order, before) })
				}
			}
		}
	})
}

func testForwarding(t *testing.T, owners int, order [3]int, before string) {
	t.Helper()
	nettest.Host(t).SetSysctl(t, forwarding, before)
	s := newGround(t)
	var networks []*hostnet.Network
	dir := ""
	for i := range order {
		if i < owners {
			dir = t.TempDir()
			try(t, os.Chmod(dir, 0o700))
		}
		n, err := hostnet.New(hostnet.Options{Dir: dir, Config: netconfig.Config{
			Bridge: fmt.Sprint("svbr", i), Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24),
		}})
		try(t, err)
		try(t, n.Hold(t.Context()))
		networks = append(networks, n)
	}
	for left, i := range order {
		try(t, networks[i].Close())
		want := "1"
		if left == len(order)-1 {
			want = before
		}
		if got := s.host.Sysctl(t, forwarding); got != want {
			t.Errorf("%d networks gone: forwarding is %s, want %s", left+1, got, want)
		}
	}
	s.host.Same(t, s.before)
}

const forwarding = "net/ipv4/ip_forward"
