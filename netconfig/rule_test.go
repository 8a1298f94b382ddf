package netconfig_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func TestParseRuleReadsOneWord(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, normal string
		want         netconfig.Rule
	}{
		{"1.1.1.1", "1.1.1.1", netconfig.Rule{To: to("1.1.1.1/32")}},
		{"10.0.0.0/8", "10.0.0.0/8", netconfig.Rule{To: to("10.0.0.0/8")}},
		{"10.9.0.0/8", "10.0.0.0/8", netconfig.Rule{To: to("10.0.0.0/8")}},
		{"10.0.0.0/8/udp", "10.0.0.0/8/udp", netconfig.Rule{To: to("10.0.0.0/8"), Protocol: netconfig.UDP}},
		{"1.1.1.1:53/udp", "1.1.1.1:53/udp", netconfig.Rule{To: to("1.1.1.1/32"), Protocol: netconfig.UDP, Ports: []netconfig.PortRange{{First: 53, Last: 53}}}},
		{"0.0.0.0/0:443", "0.0.0.0/0:443/tcp", netconfig.Rule{To: to("0.0.0.0/0"), Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 443, Last: 443}}}},
		{"10.0.0.0/8:80,8000-8100/tcp", "10.0.0.0/8:80,8000-8100/tcp", netconfig.Rule{To: to("10.0.0.0/8"), Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8100}}}},
		{"any:443", "any:443/tcp", netconfig.Rule{Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 443, Last: 443}}}},
		{"*:53/udp", "any:53/udp", netconfig.Rule{Protocol: netconfig.UDP, Ports: []netconfig.PortRange{{First: 53, Last: 53}}}},
		{"any", "any", netconfig.Rule{}},
		{"any/icmp", "any/icmp", netconfig.Rule{Protocol: netconfig.ICMP}},
		{"any/all", "any", netconfig.Rule{Protocol: netconfig.All}},
	}
	for _, tt := range tests {
		got, err := netconfig.ParseRule(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got, values); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
		if got.String() != tt.normal {
			t.Errorf("%s is written as %s, want %s", tt.text, got, tt.normal)
		}
	}
}

func TestParseRuleRefusesWhatIsAmbiguousOrNothing(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "has no destination"},
		{":443", "has no destination"},
		{"/udp", "has no destination"},
		{"10.0.0.0/", "protocol: is missing"},
		{"10.0.0.0/8/", "protocol: is missing"},
		{"10.0.0.0/33", "to: "},
		{"example.com:443", "names are not resolved"},
		{"443", "is not an IPv4 address"},
		{"any:", `"" is not a port`},
		{"any:80,", `"" is not a port`},
		{"any:0", `"0" is not a port`},
		{"any:65536", "is not a port"},
		{"any:90-80", "90-80 is empty"},
		{"any:80-90-100", "is not a port"},
		{"any:http", `"http" is not a port`},
		{"any:53/icmp", "ports: need the protocol tcp or udp"},
		{"any:53/all", "ports: need the protocol tcp or udp"},
		{"any:53/upd", `"upd" is not one of all, tcp, udp, icmp, did you mean "udp"?`},
		{"any:53:80", "more than one colon"},
		{"::1", "more than one colon"},
		{"[2001:db8::1]:443", "more than one colon"},
		{"10.0.0.0/8/24", "to: "},
		{"any:53/80", "is not a port"},
		{" any", "is not an IPv4 address"},
		{"any:" + strings.Repeat("1,", 70) + "1", "at most 64"},
	}
	for _, tt := range tests {
		r, err := netconfig.ParseRule(tt.text)
		if err == nil {
			t.Errorf("%q: accepted as %v", tt.text, r)
		} else if got := mistakes(t, err, errcode.InvalidFirewallConfig); !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q in it", tt.text, got, tt.want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{
		"", "any", "*:53/udp", "1.1.1.1:53/udp", "10.0.0.0/8", "10.0.0.0/8:80,443", "0.0.0.0/0:443/tcp", "any/icmp", "any:1-65535", "::1/8", "1.2.3.4/8/9",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := netconfig.ParseRule(text)
		if err != nil {
			mistakes(t, err, errcode.InvalidFirewallConfig)
			return
		}
		again, err := netconfig.ParseRule(r.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, r, err)
		}
		if r.Protocol == netconfig.All {
			r.Protocol = "" // the same, and not written
		}
		if diff := cmp.Diff(r, again, values); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		r.Action = netconfig.Deny
		if err := (&netconfig.Policy{Rules: []netconfig.Rule{r}}).Validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
