package netlinux_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/nettest"
)

// track makes the kernel believe in a connection of UDP.
func track(tb testing.TB, from, to string, port uint16) {
	tb.Helper()
	source, destination := net.ParseIP(from).To4(), net.ParseIP(to).To4()
	flow := &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET,
		Forward:    netlink.IPTuple{SrcIP: source, DstIP: destination, SrcPort: port, DstPort: 53, Protocol: unix.IPPROTO_UDP},
		Reverse:    netlink.IPTuple{SrcIP: destination, DstIP: source, SrcPort: 53, DstPort: port, Protocol: unix.IPPROTO_UDP},
		TimeOut:    300,
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow); err != nil {
		tb.Fatal("track a connection: ", err)
	}
}

// tracked lists who the kernel believes to be connected.
func tracked(tb testing.TB) (flows []string) {
	tb.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range all {
		flows = append(flows, fmt.Sprintf("%v > %v", f.Forward.SrcIP, f.Forward.DstIP))
	}
	slices.Sort(flows)
	return flows
}

func TestFlowsOfAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   string
		left []string
	}{
		{"172.30.0.2/32", []string{"172.30.0.20 > 192.0.2.1", "192.0.2.9 > 172.30.0.3", "192.0.2.9 > 198.51.100.1"}},
		{"172.30.0.0/24", []string{"192.0.2.9 > 198.51.100.1"}},
		{"10.0.0.0/8", []string{
			"172.30.0.2 > 192.0.2.1", "172.30.0.2 > 192.0.2.1", "172.30.0.20 > 192.0.2.1",
			"192.0.2.9 > 172.30.0.2", "192.0.2.9 > 172.30.0.3", "192.0.2.9 > 198.51.100.1",
		}},
	} {
		t.Run(strings.ReplaceAll(tt.of, "/", " "), func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				h := open(t)
				of := netip.MustParsePrefix(tt.of)
				must(t, h.ForgetFlows(of)) // there are none
				track(t, "172.30.0.2", "192.0.2.1", 1000)
				track(t, "172.30.0.2", "192.0.2.1", 1001)
				track(t, "192.0.2.9", "172.30.0.2", 1000)
				track(t, "172.30.0.20", "192.0.2.1", 1000)
				track(t, "192.0.2.9", "172.30.0.3", 1000)
				track(t, "192.0.2.9", "198.51.100.1", 1000)
				must(t, h.ForgetFlows(of))
				if got := tracked(t); !slices.Equal(got, tt.left) {
					t.Errorf("tracked %q, want %q", got, tt.left)
				}
			})
		})
	}
}

func BenchmarkForgetFlows(b *testing.B) {
	if !apart(b) {
		return
	}
	h := open(b)
	for _, others := range []int{0, 1, 10000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			for i := range others {
				track(b, "192.0.2.9", fmt.Sprintf("10.0.%d.%d", i>>8, i&255), uint16(1000+i))
			}
			for b.Loop() {
				if err := h.ForgetFlows(netip.MustParsePrefix("172.30.0.2/32")); err != nil {
					b.Fatal(err)
				}
			}
			if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
				b.Fatal(err)
			}
		})
	}
}
