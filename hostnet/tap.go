package hostnet

import (
	"net"
	"net/netip"
	"strings"
)

// TAP is a TAP device that leads to a guest, with what the guest has to know.
//
// That of a clone ([Request.Inside]) is in the clone's namespace; MAC, Addr and Gateway are
// those of the bridge all the same, where the guest is reached at Addr.
type TAP struct {
	Name string `json:"name"` // of the device, at most 15 characters
	// Port is the port of the bridge that leads to a clone; empty for others, whose TAP is
	// one.
	Port string `json:"port,omitempty"`
	// MAC and Addr are the guest's: it can send from no others. Addr has the length of
	// the subnet.
	MAC     string       `json:"mac"`
	Addr    netip.Prefix `json:"addr"`
	Gateway netip.Addr   `json:"gateway"`
	DNS     []netip.Addr `json:"dns,omitempty"`
	// GatewayMAC is the gateway's Ethernet address, which guests learn.
	GatewayMAC string `json:"gateway_mac,omitempty"`
	MTU        int    `json:"mtu"`
	VM         string `json:"vm"`
	Iface      string `json:"iface"` // the VM's name for the interface
	Bridge     string `json:"bridge"`
}

// IPArgument returns the argument by which a Linux kernel with IP_PNP configures an
// interface before init runs (Documentation/admin-guide/nfs/nfsroot.rst). Device is
// the guest's name for it: eth0 for the first. The kernel shows the resolvers in
// /proc/net/pnp, in the format of resolv.conf.
func (t *TAP) IPArgument(device string) string {
	mask := net.IP(net.CIDRMask(t.Addr.Bits(), 32)).String()
	words := []string{"ip=" + t.Addr.Addr().String(), "", t.Gateway.String(), mask, t.VM, device, "off"}
	for _, resolver := range t.DNS[:min(len(t.DNS), 2)] { // it takes two
		words = append(words, resolver.String())
	}
	return strings.Join(words, ":")
}
