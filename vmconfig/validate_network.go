package vmconfig

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
	"github.com/smartvm/smartvm/netconfig"
)

func (f *faults) interfaces(interfaces []firecracker.NetworkInterface) {
	ids, macs, hosts := deviceIDs{}, map[string]string{}, map[string]string{}
	for i := range interfaces {
		n := &interfaces[i]
		field := fmt.Sprintf("network-interfaces[%d]", i)
		ids.check(f, field+".iface_id", n.IfaceID)
		if n.HostDevName != "" { // else smartvm makes one
			f.AddAll(field+".host_dev_name", netconfig.CheckInterfaceName(n.HostDevName))
			f.unique(hosts, field+".host_dev_name", n.HostDevName)
		}
		if n.GuestMAC != "" {
			f.mac(field+".guest_mac", n.GuestMAC)
			f.unique(macs, field+".guest_mac", strings.ToLower(n.GuestMAC))
		}
		if n.MTU != 0 {
			f.between(field+".mtu", n.MTU, 68, math.MaxUint16)
		}
		f.rateLimiter(field+".rx_rate_limiter", n.RxRateLimiter)
		f.rateLimiter(field+".tx_rate_limiter", n.TxRateLimiter)
	}
}

func (f *faults) unique(seen map[string]string, field, value string) {
	if first, taken := seen[value]; taken {
		f.Add(field, "%s is also %s", strict.Quote(value), first)
		return
	}
	seen[value] = field
}

var macSyntax = regexp.MustCompile(`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`)

// mac also refuses what Firecracker takes and no guest can bring up: Linux
// wants a unicast address that is not all zero (is_valid_ether_addr).
func (f *faults) mac(field, mac string) {
	if !macSyntax.MatchString(mac) {
		f.Add(field, "%s is not a MAC address such as 06:00:ac:10:00:02", strict.Quote(mac))
		return
	}
	first, err := strconv.ParseUint(mac[:2], 16, 8)
	switch {
	case err != nil:
		f.Add(field, "%v", err)
	case first&1 == 1:
		f.Add(field, "%s is a multicast address: its first byte must be even", strict.Quote(mac))
	case strings.Trim(mac, "0:") == "":
		f.Add(field, "%s is no address", strict.Quote(mac))
	}
}

func (f *faults) vsock(v *firecracker.Vsock) {
	if v == nil {
		return
	}
	// 0 to 2 are the hypervisor, the local host and the host, and the highest is
	// "any". Firecracker v1.12.1 takes them all.
	if v.GuestCID < 3 || v.GuestCID == math.MaxUint32 {
		f.Add("vsock.guest_cid", "%d is not in 3..%d", v.GuestCID, uint32(math.MaxUint32-1))
	}
	f.socketPath("vsock.uds_path", v.UDSPath, len("_65535"))
}

func (f *faults) mmds(c *Config) {
	m := c.MMDSConfig
	if m == nil {
		return
	}
	f.oneOf("mmds-config.version", m.Version, "V1", "V2")
	if m.IPv4Address != "" && !isLinkLocal(m.IPv4Address) {
		f.Add("mmds-config.ipv4_address", "%s is not in 169.254.1.0..169.254.254.255", strict.Quote(m.IPv4Address))
	}
	if len(m.NetworkInterfaces) == 0 {
		f.Add("mmds-config.network_interfaces", "needs at least one interface")
	}
	known := make([]string, len(c.NetworkInterfaces))
	for i := range c.NetworkInterfaces {
		known[i] = c.NetworkInterfaces[i].IfaceID
	}
	for i, id := range m.NetworkInterfaces {
		if !slices.Contains(known, id) {
			f.Add(fmt.Sprintf("mmds-config.network_interfaces[%d]", i), "there is no interface %s%s", strict.Quote(id), strict.DidYouMean(id, known))
		}
	}
}

// isLinkLocal follows RFC 3927, as Firecracker does: the first and the last 256
// addresses of 169.254.0.0/16 are reserved.
func isLinkLocal(text string) bool {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] == 169 && b[1] == 254 && b[2] != 0 && b[2] != 255
}
