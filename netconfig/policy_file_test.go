package netconfig_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func TestPolicyIsTheSameAsJSONAndAsYAML(t *testing.T) {
	t.Parallel()
	want := &netconfig.Policy{
		Default: netconfig.Deny,
		Rules: []netconfig.Rule{
			{Action: netconfig.Allow, To: to("1.1.1.1/32"), Protocol: netconfig.UDP, Ports: []netconfig.PortRange{{First: 53, Last: 53}}, Comment: "resolver"},
			{Action: netconfig.Deny, To: to("10.0.0.0/8"), Log: true},
			{Action: netconfig.Allow, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8100}}},
			{Action: netconfig.Deny, To: to("0.0.0.0/0")},
		},
		LogDefault: true,
	}
	for _, text := range []string{
		`{"default": "deny", "log_default": true, "rules": [
			{"action": "allow", "to": "1.1.1.1", "protocol": "udp", "ports": [53], "comment": "resolver"},
			{"action": "deny", "to": "10.9.8.7/8", "log": true},
			{"action": "allow", "to": "", "protocol": "tcp", "ports": ["80", "8000-8100"], "log": false},
			{"action": "deny", "to": "0.0.0.0/0", "protocol": ""}]}`,
		`
default: deny
log_default: true
rules:
- {action: allow, to: 1.1.1.1, protocol: udp, ports: [53], comment: resolver}
- action: deny
  to: 10.0.0.0/8
  log: true
- action: allow
  protocol: tcp
  ports:
  - 80
  - 8000-8100
- {action: deny, to: 0.0.0.0/0}
`,
	} {
		if diff := cmp.Diff(want, policy(t, text), values); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// What was forgotten must never leave a rule that is wider than what was meant.
func TestWhatIsForgottenOpensNothing(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "is empty"},
		{"null", "can't be null"},
		{"# nothing\n", "want one that is not empty"},
		{"[]", "want an object"},
		{"rules: [{action: allow, to: null}]", "rules[0].to: can't be null (line 1)"},
		{"rules:\n- action: allow\n  to:\n", "rules[0].to: can't be null (line 3)"},
		{"rules: [{action: allow, protocol: tcp, ports: []}]", "rules[0].ports: are empty"},
		{"rules: [{action: allow, protocol: tcp, ports: }]", "rules[0].ports: can't be null"},
		{"rules: [{action: allow, protocol: tcp, ports: [null]}]", "rules[0].ports[0]: can't be null"},
		{"rules: [{action: allow, prots: [80]}]", `rules[0].prots: unknown key, did you mean "ports"? (line 1)`},
		{"rules: [{to: 1.1.1.1}]", "rules[0].action: is required"},
		{"defaults: deny", `defaults: unknown key, did you mean "default"?`},
		{"default: deny\ndefault: allow\n", "default: is set twice (line 2)"},
		{"default:\n", "default: can't be null"},
		{"default: Deny", `default: "Deny" is not one of allow, deny, did you mean "deny"? (line 1)`},
		{"rules: [{action: allow, to: example.com}]", "names are not resolved"},
		{"rules: [{action: allow, to: 10.0.0.0/33}]", "is not an IPv4 address or a prefix"},
		{"rules: [{action: allow, to: '::1'}]", "is IPv6"},
		{"rules: [{action: allow, to: 10}]", "want text, found the number 10"},
		{"rules: [{action: allow, protocol: udp, ports: [0]}]", `"0" is not a port in 1..65535 (line 1)`},
		{"rules: [{action: allow, protocol: udp, ports: [65536]}]", "is not a port in 1..65535"},
		{"rules: [{action: allow, protocol: udp, ports: [5.3]}]", "is not a port in 1..65535"},
		{"rules: [{action: allow, protocol: udp, ports: [053]}]", "want text"},
		{"rules: [{action: allow, protocol: udp, ports: ['+53']}]", "is not a port in 1..65535"},
		{"rules: [{action: allow, protocol: udp, ports: ['53-']}]", "is not a port in 1..65535"},
		{"rules: [{action: allow, protocol: udp, ports: ['54-53']}]", "54-53 is empty"},
		{"rules: [{action: allow, protocol: udp, ports: [true]}]", "want text"},
		{"rules: [{action: allow, protocol: udp, ports: 53}]", "want a list"},
		{strings.Repeat("[", 100), "too deep"},
	}
	for _, tt := range tests {
		p, err := netconfig.ParsePolicy([]byte(tt.text))
		if err == nil {
			t.Errorf("%q: accepted as %+v", tt.text, p)
		} else if got := mistakes(t, err, errcode.InvalidFirewallConfig); !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %q, want %q in it", tt.text, got, tt.want)
		}
	}
}

func TestEncodingJSONIsAsStrictAboutKeys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"rules": [{"action": "allow", "prots": [80]}]}`,
		`{"rules": [{"action": "allow", "to": null}]}`,
		`{"rules": [{"action": "allow", "Ports": [80]}]}`,
	} {
		var c netconfig.Config
		err := json.Unmarshal([]byte(`{"egress": `+text+`}`), &c)
		mistakes(t, err, errcode.InvalidFirewallConfig)
	}
	var p netconfig.Policy
	if err := json.Unmarshal([]byte(`{"rules": [{"action": "allow", "protocol": "tcp", "ports": [80, "81", "82-83"]}]}`), &p); err != nil {
		t.Fatal(err)
	}
	if got := p.Rules[0].String(); got != "allow any:80,81,82-83/tcp" {
		t.Errorf("got %s", got)
	}
	var r netconfig.PortRange
	for _, text := range []string{`null`, `true`, `[80]`, `"80`, `8e1`, "`80`", `""`} {
		if err := r.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", text, r)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, text := range []string{
		office, "{}", "default: deny", `{"rules": [{"action": "deny", "to": "10.0.0.0/8", "ports": [1, "2-3"], "protocol": "udp", "comment": "x", "log": true}], "log_default": true}`,
		"rules: [{action: allow, to: null}]", "rules:\n- &a {action: allow}\n- *a\n", "rules: []",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := netconfig.ParsePolicy(data)
		if err != nil {
			mistakes(t, err, errcode.InvalidFirewallConfig)
			return
		}
		if err := p.WithDefaults().Validate(); err != nil {
			t.Errorf("normal form: %v", err)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := netconfig.ParsePolicy(text)
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, text)
		}
		if diff := cmp.Diff(p, again, values, emptyIsNil); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
