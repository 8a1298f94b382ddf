package netconfig

import (
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// Limits of a [Config].
const (
	// MinMTU is the size of datagram that every host of IPv4 must accept (RFC 791);
	// programs rely on it: below it, plain DNS answers are cut to pieces.
	MinMTU = 576
	// MaxMTU is the highest that the kernel takes for a TAP: 65535 bytes with the
	// Ethernet header.
	MaxMTU = 65521
	// MaxDNS is how many resolvers a C library asks (MAXNS of resolv.h).
	MaxDNS = 3
)

// Validate checks all that can be known without a host; what is not set is fine. Its
// Details have every mistake, each with its field as a file spells it:
// "egress.rules[3].to". The code is that of the first mistake: INVALID_SUBNET,
// INVALID_INTERFACE_NAME, INVALID_FIREWALL_CONFIG, INVALID_WIREGUARD_CONFIG, or
// INVALID_CONFIG for all else.
func (c *Config) Validate() error {
	var f faults
	if c.Bridge != "" {
		f.below("bridge", checkOwnInterface(c.Bridge))
	}
	if c.Subnet != (netip.Prefix{}) {
		if cause := subnetFault(c.Subnet); cause != "" {
			f.of(errcode.InvalidSubnet, "subnet", "%s: %s", cause, chooseSubnet)
		}
	}
	f.mtu(errcode.InvalidConfig, "mtu", c.MTU)
	f.dns(c.DNS)
	f.below("egress", c.Egress.Validate())
	f.hostPorts(c.AllowHost)
	f.wireGuard("wireguard", c)
	return f.err("validate network config")
}

// mtu checks an MTU; 0 stands for the default.
func (f *faults) mtu(code errcode.Code, field string, mtu int) {
	if mtu != 0 && (mtu < MinMTU || mtu > MaxMTU) {
		f.of(code, field, "%d is not in %d..%d", mtu, MinMTU, MaxMTU)
	}
}

func (f *faults) dns(resolvers []netip.Addr) {
	if len(resolvers) > MaxDNS {
		f.of(errcode.InvalidConfig, "dns", "has %d resolvers, at most %d are allowed", len(resolvers), MaxDNS)
	}
	for i, a := range resolvers {
		field := fmt.Sprintf("dns[%d]", i)
		switch {
		case !a.Is4():
			f.of(errcode.InvalidConfig, field, "%v is not an IPv4 address", a)
		case a.IsLoopback():
			f.of(errcode.InvalidConfig, field, "%v is the guest itself: want a resolver that guests can reach", a)
		case a.IsUnspecified() || a.IsMulticast():
			f.of(errcode.InvalidConfig, field, "%v is not the address of a resolver", a)
		}
	}
}

func (f *faults) hostPorts(ports []HostPort) {
	seen := map[HostPort]int{}
	for i, p := range ports {
		field := fmt.Sprintf("allow_host[%d]", i)
		f.portProtocol(field, p.Protocol)
		if p.Port == 0 {
			f.of(errcode.InvalidConfig, field+".port", "0 is not in 1..65535")
		}
		if p.Protocol == "" {
			p.Protocol = TCP
		}
		if first, taken := seen[p]; taken {
			f.of(errcode.InvalidConfig, field, "is the same as allow_host[%d]", first)
			continue
		}
		seen[p] = i
	}
}

// portProtocol checks the protocol of a single port; "" is tcp.
func (f *faults) portProtocol(field string, p Protocol) {
	if p != "" && !p.hasPorts() {
		f.of(errcode.InvalidConfig, strict.Join(field, "protocol"), "%s is not one of tcp, udp", strict.Quote(string(p)))
	}
}
