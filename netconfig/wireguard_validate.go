package netconfig

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// MaxPeers is how many peers a [Tunnel] can have.
const MaxPeers = 1024

// Routing tables that the kernel and the host use themselves (RT_TABLE_DEFAULT,
// RT_TABLE_MAIN and RT_TABLE_LOCAL of linux/rtnetlink.h).
const firstOwnedTable, lastOwnedTable = 253, 255

// wireGuard checks the tunnel of c.
func (f *faults) wireGuard(field string, c *Config) {
	w := c.WireGuard
	if w == nil {
		return
	}
	const code = errcode.InvalidWireGuardConfig
	switch {
	case w.Existing == "" && w.Tunnel == nil:
		f.of(code, field, "needs either an existing interface or a tunnel")
	case w.Existing != "" && w.Tunnel != nil:
		f.of(code, field, "has both an existing interface and a tunnel, and can have one of them only")
	}
	if w.Existing != "" {
		f.below(field+".existing", CheckInterfaceName(w.Existing))
		if w.Interface != "" {
			f.of(code, field+".interface", "is for a tunnel that is made, and %s exists", strict.Quote(w.Existing))
		}
	}
	if w.Interface != "" {
		f.below(field+".interface", checkOwnInterface(w.Interface))
	}
	if name := w.Name(); name != "" && name == c.bridge() {
		f.of(errcode.InvalidInterfaceName, field, "%s is the name of the bridge, too", strict.Quote(name))
	}
	if t := int64(w.RouteTable); t < 0 || t > math.MaxUint32 {
		f.of(code, field+".route_table", "%d is not in 1..%d", t, uint32(math.MaxUint32))
	} else if t >= firstOwnedTable && t <= lastOwnedTable {
		f.of(code, field+".route_table", "%d is a table of the host's own (default, main and local)", t)
	}
	if w.Tunnel != nil {
		f.below(field+".tunnel", w.Tunnel.Validate())
	}
}

// Validate checks a tunnel. The error is INVALID_WIREGUARD_CONFIG, and its Details
// have every mistake with its field, such as "peers[1].endpoint", and never a key.
func (t Tunnel) Validate() error {
	var f faults
	if t.PrivateKey.IsZero() {
		f.tunnel("private_key", "is required")
	}
	if len(t.Addresses) == 0 {
		f.tunnel("addresses", "needs at least one IPv4 address")
	}
	for i, a := range t.Addresses {
		f.tunnelPrefix(fmt.Sprintf("addresses[%d]", i), a)
		if a.Addr().IsUnspecified() || a.Addr().IsMulticast() || a.Addr().IsLoopback() {
			f.tunnel(fmt.Sprintf("addresses[%d]", i), "%v can't be the address of an interface", a)
		}
	}
	if t.ListenPort < 0 || t.ListenPort > math.MaxUint16 {
		f.tunnel("listen_port", "%d is not in 0..65535", t.ListenPort)
	}
	f.mtu(errcode.InvalidWireGuardConfig, "mtu", t.MTU)
	f.peers(&t)
	return f.err("validate wireguard tunnel")
}

func (f *faults) tunnel(field, format string, args ...any) {
	f.of(errcode.InvalidWireGuardConfig, field, format, args...)
}

func (f *faults) tunnelPrefix(field string, p netip.Prefix) {
	switch {
	case !p.IsValid():
		f.tunnel(field, "is not a prefix")
	case !p.Addr().Is4():
		f.tunnel(field, "%v is IPv6, and guests' traffic is IPv4", p)
	}
}

func (f *faults) peers(t *Tunnel) {
	if len(t.Peers) == 0 {
		f.tunnel("peers", "needs at least one peer")
	}
	if len(t.Peers) > MaxPeers {
		f.tunnel("peers", "has %d peers, at most %d are allowed", len(t.Peers), MaxPeers)
		return
	}
	own, seen := t.PrivateKey.Public(), map[Key]int{}
	for i := range t.Peers {
		p, field := &t.Peers[i], fmt.Sprintf("peers[%d]", i)
		first, taken := seen[p.PublicKey]
		switch {
		case p.PublicKey.IsZero():
			f.tunnel(field+".public_key", "is required")
		case taken:
			f.tunnel(field+".public_key", "is the same as that of peers[%d]", first)
		case !t.PrivateKey.IsZero() && p.PublicKey == own: // the kernel would drop such a peer without a word
			f.tunnel(field+".public_key", "is this tunnel's own: want that of the other end")
		default:
			seen[p.PublicKey] = i
		}
		f.peer(field, p)
	}
}

func (f *faults) peer(field string, p *Peer) {
	if p.Endpoint != "" {
		if err := checkEndpoint(p.Endpoint); err != nil {
			f.tunnel(field+".endpoint", "%v", err)
		}
	}
	if len(p.AllowedIPs) == 0 {
		f.tunnel(field+".allowed_ips", "needs at least one IPv4 prefix")
	}
	for i, a := range p.AllowedIPs {
		f.tunnelPrefix(fmt.Sprintf("%s.allowed_ips[%d]", field, i), a)
	}
	if k := p.Keepalive; k < 0 || k > math.MaxUint16*time.Second || k%time.Second != 0 {
		f.tunnel(field+".keepalive", "%v is not a number of whole seconds in 0..65535", k)
	}
}

var (
	hostName    = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)
	errEndpoint = errors.New("is not an endpoint: want HOST:PORT such as vpn.example.net:51820 or [2001:db8::1]:51820")
)

// checkEndpoint checks the syntax of HOST:PORT. The error never has the text, which
// may be a key that got into the wrong line.
func checkEndpoint(text string) error {
	if strings.HasPrefix(text, "[") {
		a, err := netip.ParseAddrPort(text)
		if err != nil || a.Port() == 0 || a.Addr().Zone() != "" && CheckInterfaceName(a.Addr().Zone()) != nil {
			return errEndpoint
		}
		return nil
	}
	const longestName = 253 // RFC 1035, as text
	host, port, _ := strings.Cut(text, ":")
	if _, err := parsePort(port); err != nil || len(host) > longestName || !hostName.MatchString(host) {
		return errEndpoint
	}
	return nil
}
