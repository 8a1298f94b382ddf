package netconfig

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// Forward leads a port of the host to a port of a guest. Its text form is
// [HOSTIP:]HOSTPORT:GUESTPORT[/udp].
type Forward struct {
	// HostIP is the address of the host that is listened on. The zero value is
	// 127.0.0.1: only the host itself can connect. 0.0.0.0 is every address.
	HostIP netip.Addr `json:"host_ip,omitzero"`
	// HostPort and GuestPort are not 0.
	HostPort  uint16 `json:"host_port"`
	GuestPort uint16 `json:"guest_port"`
	// Protocol is tcp or udp. Empty is tcp.
	Protocol Protocol `json:"protocol,omitempty"`
}

// ParseForward reads [HOSTIP:]HOSTPORT:GUESTPORT[/PROTO], such as 8080:80,
// 0.0.0.0:8443:443 or 5353:53/udp. What is left out stays empty. The error is
// INVALID_CONFIG.
func ParseForward(text string) (Forward, error) {
	var f faults
	var out Forward
	rest, proto, hasProto := strings.Cut(text, "/")
	words := strings.Split(rest, ":")
	if len(words) < 2 || len(words) > 3 || hasProto && proto == "" {
		f.of(errcode.InvalidConfig, "", "%s is not [HOSTIP:]HOSTPORT:GUESTPORT[/udp] such as 8080:80", strict.Quote(text))
		return Forward{}, f.err(opParseForward)
	}
	if len(words) == 3 {
		ip, err := netip.ParseAddr(words[0])
		if err != nil {
			f.of(errcode.InvalidConfig, "host_ip", "%s is not an IPv4 address of the host", strict.Quote(words[0]))
		}
		out.HostIP, words = ip, words[1:]
	}
	for i, port := range []*uint16{&out.HostPort, &out.GuestPort} {
		n, err := parsePort(words[i])
		if err != nil {
			f.of(errcode.InvalidConfig, [...]string{"host_port", "guest_port"}[i], "%v", err)
		}
		*port = n
	}
	out.Protocol = Protocol(proto)
	if len(f.Details) == 0 {
		f.forward("", out)
	}
	if err := f.err(opParseForward); err != nil {
		return Forward{}, err
	}
	return out, nil
}

const opParseForward = "parse port forward"

// String returns what [ParseForward] reads.
func (f Forward) String() string {
	text := fmt.Sprintf("%d:%d", f.HostPort, f.GuestPort)
	if f.HostIP.IsValid() {
		text = f.HostIP.String() + ":" + text
	}
	if f.Protocol != "" {
		text += "/" + string(f.Protocol)
	}
	return text
}

// WithDefaults returns a copy in which the address and the protocol are written out.
func (f Forward) WithDefaults() Forward {
	if !f.HostIP.IsValid() {
		f.HostIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if f.Protocol == "" {
		f.Protocol = TCP
	}
	return f
}

// Conflicts reports whether the two can't both listen: they have protocol and port of
// the host in common, and the address as well, or one of them has every address.
func (f Forward) Conflicts(other Forward) bool {
	a, b := f.WithDefaults(), other.WithDefaults()
	return a.Protocol == b.Protocol && a.HostPort == b.HostPort &&
		(a.HostIP == b.HostIP || a.HostIP.IsUnspecified() || b.HostIP.IsUnspecified())
}

// MaxForwards is how many ports can be forwarded to one guest.
const MaxForwards = 1024

// ValidateForwards checks the forwards of one guest. The error is INVALID_CONFIG, and
// its Details have every mistake, each with its field: "[1].host_port".
func ValidateForwards(list []Forward) error {
	var f faults
	if len(list) > MaxForwards {
		f.of(errcode.InvalidConfig, "", "has %d ports, at most %d are allowed", len(list), MaxForwards)
		return f.err(opValidateForwards)
	}
	for i, a := range list {
		field := fmt.Sprintf("[%d]", i)
		f.forward(field, a)
		for j, b := range list[:i] {
			if a.Conflicts(b) {
				f.of(errcode.InvalidConfig, field, "%v can't listen beside %v, which is [%d]", a, b, j)
				break
			}
		}
	}
	return f.err(opValidateForwards)
}

const opValidateForwards = "validate port forwards"

// broadcast is what a host can't listen on.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func (f *faults) forward(field string, w Forward) {
	if ip := w.HostIP; ip != (netip.Addr{}) && (!ip.Is4() || ip.IsMulticast() || ip == broadcast) {
		f.of(errcode.InvalidConfig, strict.Join(field, "host_ip"), "%v is not an IPv4 address of the host", ip)
	}
	if w.HostPort == 0 {
		f.of(errcode.InvalidConfig, strict.Join(field, "host_port"), "0 is not in 1..65535")
	}
	if w.GuestPort == 0 {
		f.of(errcode.InvalidConfig, strict.Join(field, "guest_port"), "0 is not in 1..65535")
	}
	f.portProtocol(field, w.Protocol)
}
