package netconfig_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func TestSubnetIsNormalisedToItsNetworkAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"172.30.0.0/24":   "172.30.0.0/24",
		"172.30.0.77/24":  "172.30.0.0/24",
		"10.255.255.9/30": "10.255.255.8/30",
		"40.1.2.3/3":      "32.0.0.0/3",
		"192.168.255.1/8": "192.0.0.0/8",
	} {
		got, err := netconfig.ParseSubnet(text)
		if err != nil || got != prefix(want) {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestSubnetsThatGuestsCantHaveAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "has no prefix length"},
		{"172.30.0.0", "has no prefix length"},
		{"garbage/24", `"garbage/24" is not a subnet`},
		{"172.30.0.0/33", "is not a subnet"},
		{"172.30.0.0/-1", "is not a subnet"},
		{"172.30.0.0/024", "is not a subnet"},
		{"172.030.0.0/24", "is not a subnet"},
		{" 172.30.0.0/24", "is not a subnet"},
		{"172.30.0.0/255.255.255.0", "is not a subnet"},
		{"fd00::/64", "is IPv6"},
		{"::ffff:10.0.0.0/120", "is IPv6"},
		{"10.0.0.0/0", "has a prefix of /0"},
		{"10.0.0.0/31", "has a prefix of /31"},
		{"10.0.0.0/32", "has a prefix of /32"},
		{"0.1.0.0/16", "0.0.0.0/8"},
		{"127.1.0.0/16", "loopback"},
		{"169.254.7.0/24", "link-local"},
		{"169.0.0.0/8", "link-local"},
		{"224.1.0.0/16", "multicast and reserved"},
		{"255.255.255.0/24", "multicast and reserved"},
		{"10.0.0.0/1", "0.0.0.0/8"},
	}
	for _, tt := range tests {
		got, err := netconfig.ParseSubnet(tt.text)
		if err == nil {
			t.Errorf("%q: accepted as %v", tt.text, got)
			continue
		}
		if text := mistakes(t, err, errcode.InvalidSubnet); !strings.Contains(text, tt.want) {
			t.Errorf("%q: got %q, want %q in it", tt.text, text, tt.want)
		}
		if e, _ := errors.AsType[*errcode.Error](err); !strings.Contains(e.Hint, netconfig.DefaultSubnet) {
			t.Errorf("%q: the hint %q names no subnet", tt.text, e.Hint)
		}
	}
}

func TestGuestsHaveAllAddressesButThree(t *testing.T) {
	t.Parallel()
	tests := []struct {
		subnet, gateway, first, last string
		capacity                     int
	}{
		{"172.30.0.0/24", "172.30.0.1", "172.30.0.2", "172.30.0.254", 253},
		{"10.1.2.5/30", "10.1.2.5", "10.1.2.6", "10.1.2.6", 1},
		{"10.1.2.0/29", "10.1.2.1", "10.1.2.2", "10.1.2.6", 5},
		{"10.0.0.0/8", "10.0.0.1", "10.0.0.2", "10.255.255.254", 1<<24 - 3},
		{"32.0.0.0/3", "32.0.0.1", "32.0.0.2", "63.255.255.254", 1<<29 - 3},
	}
	for _, tt := range tests {
		c := &netconfig.Config{Subnet: prefix(tt.subnet)}
		if c.Gateway() != addr(tt.gateway) || c.FirstGuest() != addr(tt.first) || c.LastGuest() != addr(tt.last) || c.Capacity() != tt.capacity {
			t.Errorf("%s: got %v, %v..%v, %d", tt.subnet, c.Gateway(), c.FirstGuest(), c.LastGuest(), c.Capacity())
		}
	}
	for _, text := range []string{"10.0.0.0/31", "10.0.0.0/32", "10.0.0.0/0", "fd00::/64"} {
		c := &netconfig.Config{Subnet: prefix(text)}
		if c.Gateway().IsValid() || c.FirstGuest().IsValid() || c.LastGuest().IsValid() || c.Capacity() != 0 {
			t.Errorf("%s has addresses", text)
		}
	}
}

func FuzzParseSubnet(f *testing.F) {
	for _, text := range []string{"", "172.30.0.0/24", "10.0.0.1/31", "fd00::/64", "0.0.0.0/0", "1.2.3.4/30", "300.0.0.0/8", "10.0.0.0/8/8"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := netconfig.ParseSubnet(text)
		if err != nil {
			mistakes(t, err, errcode.InvalidSubnet)
			return
		}
		c := &netconfig.Config{Subnet: got}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		broadcast := c.LastGuest().Next()
		for _, a := range []netip.Addr{c.Gateway(), c.FirstGuest(), c.LastGuest(), broadcast} {
			if !got.Contains(a) {
				t.Errorf("%v is not in %v", a, got)
			}
		}
		if c.Gateway() != got.Addr().Next() || c.FirstGuest() != c.Gateway().Next() || got.Contains(broadcast.Next()) || c.Capacity() < 1 {
			t.Errorf("%v: %v, %v..%v, %d", got, c.Gateway(), c.FirstGuest(), c.LastGuest(), c.Capacity())
		}
		if again, err := netconfig.ParseSubnet(got.String()); err != nil || again != got {
			t.Errorf("%v read again: %v, %v", got, again, err)
		}
	})
}
