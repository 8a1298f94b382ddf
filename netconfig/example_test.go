package netconfig_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func Example() {
	c := &netconfig.Config{Subnet: netip.MustParsePrefix("10.20.0.0/16")}
	if err := c.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Gateway(), c.FirstGuest(), c.LastGuest(), c.Capacity())
	// Output: 10.20.0.1 10.20.0.2 10.20.255.254 65533
}

func ExampleParsePolicy() {
	p, err := netconfig.ParsePolicy([]byte(`
default: deny
rules:
  - {action: deny, to: 10.0.0.0/8, log: true}
  - {action: allow, protocol: tcp, ports: [443, 8000-8100], comment: the web}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range p.Rules {
		fmt.Println(r)
	}
	// Output:
	// deny 10.0.0.0/8
	// allow any:443,8000-8100/tcp
}

func ExampleParsePolicy_mistakes() {
	_, err := netconfig.ParsePolicy([]byte(`
default: deny
rules:
  - {action: allow, proto: tcp, ports: [443]}
  - {action: allow, to: }
`))
	if e, ok := errors.AsType[*errcode.Error](err); ok {
		fmt.Println(e.Code)
		for _, d := range e.Details {
			fmt.Println(d)
		}
	}
	// Output:
	// INVALID_FIREWALL_CONFIG
	// rules[0].proto: unknown key, did you mean "protocol"? (line 4)
	// rules[1].to: can't be null (line 5)
}

func ExamplePolicy_Decide() {
	p := &netconfig.Policy{Default: netconfig.Deny}
	for _, text := range []string{"1.1.1.1:53/udp", "any:443"} {
		r, err := netconfig.ParseRule(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		r.Action = netconfig.Allow
		p.Rules = append(p.Rules, r)
	}
	fmt.Println(p.Decide(netip.MustParseAddr("1.1.1.1"), netconfig.UDP, 53))
	fmt.Println(p.Decide(netip.MustParseAddr("192.0.2.7"), netconfig.TCP, 443))
	fmt.Println(p.Decide(netip.MustParseAddr("192.0.2.7"), netconfig.TCP, 80))
	// Output:
	// {allow 0}
	// {allow 1}
	// {deny -1}
}

func ExampleParseForward() {
	f, err := netconfig.ParseForward("8080:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f, "listens on", f.WithDefaults().HostIP)
	// Output: 8080:80 listens on 127.0.0.1
}
