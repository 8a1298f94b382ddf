package netconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/strict"
)

// UnmarshalText takes allow, deny, and "" for what is not set.
func (a *Action) UnmarshalText(text []byte) error {
	return oneOf(a, text, Allow, Deny)
}

// UnmarshalText takes all, tcp, udp, icmp, and "" for what is not set.
func (p *Protocol) UnmarshalText(text []byte) error {
	return oneOf(p, text, All, TCP, UDP, ICMP)
}

// hasPorts reports whether connections have a destination port.
func (p Protocol) hasPorts() bool { return p == TCP || p == UDP }

func oneOf[T ~string](to *T, text []byte, known ...T) error {
	if v := T(text); v == "" || slices.Contains(known, v) {
		*to = v
		return nil
	}
	return notOneOf(T(text), known...)
}

// notOneOf says what a name should have been.
func notOneOf[T ~string](name T, known ...T) error {
	names := make([]string, len(known))
	for i := range known {
		names[i] = string(known[i])
	}
	return fmt.Errorf("%s is not one of %s%s", strict.Quote(string(name)), strings.Join(names, ", "), strict.DidYouMean(string(name), names))
}

// String returns "10.0.0.0/8", "1.1.1.1" for a single address, and "" for everything.
func (d Destination) String() string {
	switch {
	case d == (Destination{}):
		return ""
	case d.IsSingleIP():
		return d.Addr().String()
	default:
		return d.Prefix.String()
	}
}

// AppendText appends what [Destination.String] returns.
func (d Destination) AppendText(b []byte) ([]byte, error) { return append(b, d.String()...), nil }

// MarshalText returns what [Destination.String] does.
func (d Destination) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes an IPv4 address, a prefix, which is normalised to its network
// address, and "" for everything.
func (d *Destination) UnmarshalText(text []byte) error {
	s := string(text)
	var p netip.Prefix
	var err error
	switch {
	case s == "":
	case strings.Contains(s, "/"):
		p, err = netip.ParsePrefix(s)
	default:
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not an IPv4 address or a prefix such as 10.0.0.0/8: names are not resolved", strict.Quote(s))
	}
	*d = Destination{p.Masked()}
	return d.fault()
}

// fault returns why the destination can't be one.
func (d Destination) fault() error {
	switch {
	case d == (Destination{}):
		return nil
	case !d.IsValid():
		return errors.New("is not a prefix")
	case !d.Addr().Is4():
		return fmt.Errorf("%v is IPv6, which guests can't reach at all", d)
	}
	return nil
}

// String returns "443" or "8000-8100".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText returns what [PortRange.String] does.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes "443" or "8000-8100".
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	low, err := parsePort(first)
	if err != nil {
		return err
	}
	high, err := parsePort(last)
	if err != nil {
		return err
	}
	*r = PortRange{low, high}
	return r.fault()
}

// UnmarshalJSON takes a number, too.
func (r *PortRange) UnmarshalJSON(data []byte) error {
	text := string(data)
	if unquoted, err := strconv.Unquote(text); err == nil && text[0] == '"' {
		text = unquoted
	}
	return r.UnmarshalText([]byte(text))
}

// fault returns why there is no such range of ports.
func (r PortRange) fault() error {
	switch {
	case r.First == 0:
		return errors.New("0 is not a port")
	case r.First > r.Last:
		return fmt.Errorf("%v is empty: its first port is higher than its last", r)
	}
	return nil
}

// parsePort takes decimal digits only.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '0' {
		return 0, fmt.Errorf("%s is not a port in 1..65535", strict.Quote(text))
	}
	return uint16(n), nil
}
