package netconfig_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func forward(tb testing.TB, text string) netconfig.Forward {
	tb.Helper()
	f, err := netconfig.ParseForward(text)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestForwardListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, full string
		want       netconfig.Forward
	}{
		{"8080:80", "127.0.0.1:8080:80/tcp", netconfig.Forward{HostPort: 8080, GuestPort: 80}},
		{"5353:53/udp", "127.0.0.1:5353:53/udp", netconfig.Forward{HostPort: 5353, GuestPort: 53, Protocol: netconfig.UDP}},
		{"0.0.0.0:443:443/tcp", "0.0.0.0:443:443/tcp", netconfig.Forward{HostIP: addr("0.0.0.0"), HostPort: 443, GuestPort: 443, Protocol: netconfig.TCP}},
		{"192.0.2.1:1:65535", "192.0.2.1:1:65535/tcp", netconfig.Forward{HostIP: addr("192.0.2.1"), HostPort: 1, GuestPort: 65535}},
	}
	for _, tt := range tests {
		got := forward(t, tt.text)
		if diff := cmp.Diff(tt.want, got, values); diff != "" || got.String() != tt.text {
			t.Errorf("%s is written as %s (-want +got):\n%s", tt.text, got, diff)
		}
		if got := got.WithDefaults().String(); got != tt.full {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.full)
		}
	}
}

func TestBadForwardsAreRefusedWithTheirFields(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "is not [HOSTIP:]HOSTPORT:GUESTPORT"},
		{"80", "is not [HOSTIP:]HOSTPORT:GUESTPORT"},
		{"8080:80/", "is not [HOSTIP:]HOSTPORT:GUESTPORT"},
		{"1:2:3:4", "is not [HOSTIP:]HOSTPORT:GUESTPORT"},
		{"[::1]:8080:80", "is not [HOSTIP:]HOSTPORT:GUESTPORT"},
		{"8080:", "guest_port: \"\" is not a port"},
		{":80", "host_port: \"\" is not a port"},
		{"0:80", "host_port: \"0\" is not a port"},
		{"8080:65536", "guest_port: "},
		{"8080-8090:80", "host_port: "},
		{":8080:80", "host_ip: \"\" is not an IPv4 address of the host"},
		{"localhost:8080:80", "host_ip: \"localhost\" is not"},
		{"224.0.0.1:8080:80", "host_ip: 224.0.0.1 is not"},
		{"255.255.255.255:8080:80", "host_ip: 255.255.255.255 is not"},
		{"8080:80/icmp", "protocol: \"icmp\" is not one of tcp, udp"},
		{"8080:80/tcp/udp", "protocol: \"tcp/udp\" is not"},
		{"x:y:z", "host_ip: \"x\" is not an IPv4 address of the host\nhost_port: \"y\" is not a port in 1..65535\nguest_port: \"z\""},
	}
	for _, tt := range tests {
		f, err := netconfig.ParseForward(tt.text)
		if err == nil {
			t.Errorf("%q: accepted as %v", tt.text, f)
		} else if got := mistakes(t, err, errcode.InvalidConfig); !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q in it", tt.text, got, tt.want)
		}
	}
}

func TestForwardsThatCantBothListenConflict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want bool
	}{
		{"8080:80", "8080:81", true},
		{"8080:80", "127.0.0.1:8080:81/tcp", true},
		{"8080:80", "0.0.0.0:8080:81", true},
		{"192.0.2.1:8080:80", "0.0.0.0:8080:80", true},
		{"8080:80", "8081:80", false},
		{"8080:80", "8080:80/udp", false},
		{"8080:80", "192.0.2.1:8080:80", false},
	}
	for _, tt := range tests {
		a, b := forward(t, tt.a), forward(t, tt.b)
		if a.Conflicts(b) != tt.want || b.Conflicts(a) != tt.want {
			t.Errorf("%v and %v: conflict %t and %t, want %t", a, b, a.Conflicts(b), b.Conflicts(a), tt.want)
		}
	}
}

func TestListOfForwardsIsCheckedWhole(t *testing.T) {
	t.Parallel()
	list := []netconfig.Forward{
		forward(t, "8080:80"), forward(t, "0.0.0.0:8080:80/udp"), forward(t, "0.0.0.0:8080:81"),
		{HostIP: addr("::1"), Protocol: "sctp"},
	}
	want := `[2]: 0.0.0.0:8080:81 can't listen beside 8080:80, which is [0]
[3].host_ip: ::1 is not an IPv4 address of the host
[3].host_port: 0 is not in 1..65535
[3].guest_port: 0 is not in 1..65535
[3].protocol: "sctp" is not one of tcp, udp
`
	if diff := cmp.Diff(want, mistakes(t, netconfig.ValidateForwards(list), errcode.InvalidConfig)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := netconfig.ValidateForwards(list[:2]); err != nil {
		t.Error(err)
	}
	many := slices.Repeat(list[:1], netconfig.MaxForwards+1)
	if got := mistakes(t, netconfig.ValidateForwards(many), errcode.InvalidConfig); got != "has 1025 ports, at most 1024 are allowed\n" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseForward(f *testing.F) {
	for _, text := range []string{"", "8080:80", "127.0.0.1:8080:80/udp", "0.0.0.0:1:2/tcp", "1:2:3:4", "::1:2:3", "8080:80/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := netconfig.ParseForward(text)
		if err != nil {
			mistakes(t, err, errcode.InvalidConfig)
			return
		}
		if got.String() != text {
			t.Errorf("%q became %q", text, got)
		}
		if err := netconfig.ValidateForwards([]netconfig.Forward{got, {HostPort: 1, GuestPort: 1}}); err != nil && !got.Conflicts(netconfig.Forward{HostPort: 1}) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
