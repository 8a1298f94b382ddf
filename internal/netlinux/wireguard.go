package netlinux

import (
	"net/netip"
	"time"
)

// Status is what a WireGuard interface says of itself, without its private and
// preshared keys.
type Status struct {
	Name string
	// Kernel is set for an interface of the kernel's own WireGuard, and not set for
	// one of a program such as wireguard-go.
	Kernel bool
	// PublicKey in base64, as wg prints it. Empty: it has no keys yet.
	PublicKey  string
	ListenPort int
	Peers      []PeerStatus
}

// PeerStatus is the state of one peer.
type PeerStatus struct {
	// PublicKey in base64.
	PublicKey string
	// Endpoint is where packets are sent: the last address that the peer sent from.
	// Not valid: it is not known.
	Endpoint   netip.AddrPort
	AllowedIPs []netip.Prefix
	// LastHandshake is zero if there never was one. A peer in use has one about
	// every two minutes (REKEY_AFTER_TIME in the WireGuard paper, section 6.1).
	LastHandshake time.Time
	// Received and Sent are bytes, those of handshakes included.
	Received, Sent uint64
}
