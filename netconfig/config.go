package netconfig

import (
	"net/netip"
	"slices"
)

// Defaults of a [Config].
const (
	DefaultBridge = "svbr0"
	DefaultSubnet = "172.30.0.0/24"
)

// Config is one network: a bridge with a subnet, shared by the VMs on it. The
// zero value is ready to use: guests reach what the host reaches, and neither the
// host, nor each other, nor link-local addresses such as a cloud's metadata service.
//
// A Config is a plain value: it may be read by several goroutines, and changed by
// one at a time. Whoever keeps one takes a [Config.Clone].
type Config struct {
	// Bridge is the name of the bridge, at most 15 characters. Default svbr0.
	Bridge string `json:"bridge,omitempty"`
	// Subnet has the addresses of the gateway (the first usable one) and the guests.
	// Prefix 1 to 30; it is normalised to its network address. Default 172.30.0.0/24.
	Subnet netip.Prefix `json:"subnet,omitzero"`
	// MTU of the bridge and its TAPs. Default: that of the interface through which
	// guests' traffic leaves the host, at most 1500.
	MTU int `json:"mtu,omitempty"`
	// DNS has the resolvers that guests are told of. Default: those of the host, if
	// they can be reached from elsewhere.
	DNS []netip.Addr `json:"dns,omitempty"`

	// Egress is what all guests of the network may reach. Nil allows everything but
	// what the network itself forbids. A VM's own policy can only narrow it.
	Egress *Policy `json:"egress,omitempty"`
	// AllowHost has the ports of the host that guests may connect to, on the
	// gateway's address. Default: none, only ICMP echo is answered.
	AllowHost []HostPort `json:"allow_host,omitempty"`
	// AllowPeers lets the guests of the network reach each other.
	AllowPeers bool `json:"allow_peers,omitempty"`
	// AllowLinkLocal lets guests reach 169.254.0.0/16 through the host, where clouds
	// have their metadata, credentials included. Firecracker's own MMDS does not need it.
	AllowLinkLocal bool `json:"allow_link_local,omitempty"`

	// WireGuard is the tunnel through which guests' traffic leaves the host. Nil is
	// the host's default route, with NAT.
	WireGuard *WireGuard `json:"wireguard,omitempty"`
}

// HostPort is a service of the host.
type HostPort struct {
	Protocol Protocol `json:"protocol,omitempty"` // tcp or udp. Default tcp.
	Port     uint16   `json:"port"`
}

// WithDefaults returns a deep copy in which every default that does not depend on
// the host is written out, and prefixes and the policy have their normal form. What
// depends on the host stays as it is: MTU, DNS, and the tunnel's MTU.
func (c *Config) WithDefaults() *Config {
	out := c.Clone()
	out.Bridge, out.Subnet = c.bridge(), c.subnet()
	out.Egress = c.Egress.WithDefaults()
	for i := range out.AllowHost {
		if out.AllowHost[i].Protocol == "" {
			out.AllowHost[i].Protocol = TCP
		}
	}
	out.WireGuard = c.WireGuard.withDefaults()
	return out
}

// Clone returns a deep copy: nothing that can be changed is shared.
func (c *Config) Clone() *Config {
	out := *c
	out.DNS = slices.Clone(c.DNS)
	out.Egress = c.Egress.Clone()
	out.AllowHost = slices.Clone(c.AllowHost)
	out.WireGuard = c.WireGuard.clone()
	return &out
}
