package netconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Defaults of a [WireGuard].
const (
	DefaultWireGuardInterface = "svwg0"
	DefaultRouteTable         = 51820
)

// WireGuard is a tunnel on the host for the traffic of guests, who know nothing
// of it. The host's own traffic does not go through it.
type WireGuard struct {
	// Existing is an interface that somebody else manages: it is used and never
	// changed or removed. Exactly one of Existing and Tunnel is set.
	Existing string `json:"existing,omitempty"`
	// Tunnel is an interface that is made for the network and removed with it.
	Tunnel *Tunnel `json:"tunnel,omitempty"`
	// Interface is the name of the tunnel's interface. Default svwg0.
	Interface string `json:"interface,omitempty"`
	// RouteTable is the number of the routing table that is used. Default 51820.
	RouteTable int `json:"route_table,omitempty"`
	// KeepDefaultRoute leaves guests' traffic on the host's routes, with NAT, and
	// only makes the interface. Default: all of it goes through the tunnel.
	KeepDefaultRoute bool `json:"keep_default_route,omitempty"`
	// FailOpen lets guests' traffic take the host's routes while the tunnel is down
	// or has no route to a destination. Default: it is dropped.
	FailOpen bool `json:"fail_open,omitempty"`
}

// Tunnel is the text of a wg-quick file as a value. Printing one shows no secret.
type Tunnel struct {
	PrivateKey Key            `json:"-"` // never written anywhere
	Addresses  []netip.Prefix `json:"addresses"`
	ListenPort int            `json:"listen_port,omitempty"` // 0: the kernel chooses
	Mark       uint32         `json:"mark,omitempty"`        // FwMark of the encrypted packets
	MTU        int            `json:"mtu,omitempty"`         // default: 1420, as of wg-quick on Ethernet
	Peers      []Peer         `json:"peers"`
}

// Peer is the other end of a tunnel.
type Peer struct {
	PublicKey    Key            `json:"public_key"`
	PresharedKey Key            `json:"-"`                  // zero: none
	Endpoint     string         `json:"endpoint,omitempty"` // host:port; the host is resolved when the interface is made
	AllowedIPs   []netip.Prefix `json:"allowed_ips"`
	Keepalive    time.Duration  `json:"keepalive,omitempty"` // whole seconds, 0: none
}

// Name returns the name of the interface, whoever manages it.
func (w *WireGuard) Name() string {
	if w.Tunnel == nil {
		return w.Existing
	}
	return cmp.Or(w.Interface, DefaultWireGuardInterface)
}

// withDefaults returns a deep copy with its defaults written out; nil of nil.
func (w *WireGuard) withDefaults() *WireGuard {
	out := w.clone()
	if out == nil {
		return nil
	}
	out.RouteTable = cmp.Or(out.RouteTable, DefaultRouteTable)
	if t := out.Tunnel; t != nil {
		out.Interface = out.Name()
		for i := range t.Peers {
			for j, a := range t.Peers[i].AllowedIPs {
				t.Peers[i].AllowedIPs[j] = a.Masked()
			}
		}
	}
	return out
}

// clone returns a deep copy; nil of nil.
func (w *WireGuard) clone() *WireGuard {
	if w == nil {
		return nil
	}
	out := *w
	if w.Tunnel != nil {
		t := *w.Tunnel
		t.Addresses = slices.Clone(t.Addresses)
		t.Peers = slices.Clone(t.Peers)
		for i := range t.Peers {
			t.Peers[i].AllowedIPs = slices.Clone(t.Peers[i].AllowedIPs)
		}
		out.Tunnel = &t
	}
	return &out
}

// Format prints no key. It is needed in spite of [Key.Format]: for a pointer inside
// another value, fmt prints what a verb such as %s does not fit without asking it.
func (t Tunnel) Format(s fmt.State, verb rune) {
	type plain Tunnel // without this method
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(t))
}

// Format prints no key, as that of [Tunnel].
func (p Peer) Format(s fmt.State, verb rune) {
	type plain Peer // without this method
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(p))
}

// MarshalJSON shows the public key, which [Key] itself does not.
func (p Peer) MarshalJSON() ([]byte, error) {
	type plain Peer // without this method
	return json.Marshal(struct {
		PublicKey string `json:"public_key"`
		plain
	}{p.PublicKey.PublicText(), plain(p)})
}
