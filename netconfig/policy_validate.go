package netconfig

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// Validate checks a policy; nil is fine. The error is INVALID_FIREWALL_CONFIG, and
// its Details have every mistake, each with its field: "rules[3].to".
func (p *Policy) Validate() error {
	if p == nil {
		return nil
	}
	var f strict.Faults
	if p.Default != "" && p.Default != Allow && p.Default != Deny {
		f.Add("default", "%v", notOneOf(p.Default, Allow, Deny))
	}
	if p.LogDefault && p.Default != Deny {
		f.Add("log_default", "has no effect: nothing is dropped by default")
	}
	if len(p.Rules) > MaxRules {
		f.Add("rules", "has %d rules, at most %d are allowed", len(p.Rules), MaxRules)
		return f.Err(errcode.InvalidFirewallConfig, opValidatePolicy)
	}
	tests := 0
	for i := range p.Rules {
		checkRule(&f, fmt.Sprintf("rules[%d]", i), &p.Rules[i])
		tests += max(1, len(p.Rules[i].Ports))
	}
	if tests > MaxTests {
		f.Add("rules", "have %d ports and ranges in all, at most %d are allowed", tests, MaxTests)
	}
	return f.Err(errcode.InvalidFirewallConfig, opValidatePolicy)
}

const opValidatePolicy = "validate egress policy"

func checkRule(f *strict.Faults, field string, r *Rule) {
	switch r.Action {
	case Allow, Deny:
	case "":
		f.Add(strict.Join(field, "action"), "is required: allow or deny")
	default:
		f.Add(strict.Join(field, "action"), "%v", notOneOf(r.Action, Allow, Deny))
	}
	if err := r.To.fault(); err != nil {
		f.Add(strict.Join(field, "to"), "%v", err)
	}
	switch r.Protocol {
	case "", All, TCP, UDP, ICMP:
	default:
		f.Add(strict.Join(field, "protocol"), "%v", notOneOf(r.Protocol, All, TCP, UDP, ICMP))
	}
	checkPorts(f, field, r)
	checkComment(f, strict.Join(field, "comment"), r.Comment)
	if r.Log && r.Action == Allow {
		f.Add(strict.Join(field, "log"), "has no effect: only what is denied is logged")
	}
}

func checkPorts(f *strict.Faults, field string, r *Rule) {
	if r.Ports != nil && len(r.Ports) == 0 { // somebody's list of ports that came out empty must not mean every port
		f.Add(strict.Join(field, "ports"), "are empty: leave them out for every port")
	}
	if len(r.Ports) > 0 && !r.Protocol.hasPorts() {
		f.Add(strict.Join(field, "ports"), "need the protocol tcp or udp")
	}
	if len(r.Ports) > MaxPorts {
		f.Add(strict.Join(field, "ports"), "has %d ports and ranges, at most %d are allowed", len(r.Ports), MaxPorts)
		return
	}
	for i := range r.Ports {
		if err := r.Ports[i].fault(); err != nil {
			f.Add(strict.Join(field, fmt.Sprintf("ports[%d]", i)), "%v", err)
		}
	}
}

// checkComment keeps comments on one line of a terminal, where they are shown.
func checkComment(f *strict.Faults, field, text string) {
	switch {
	case len(text) > MaxComment:
		f.Add(field, "has %d bytes, at most %d are allowed", len(text), MaxComment)
	case !utf8.ValidString(text):
		f.Add(field, "is not valid UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		f.Add(field, "%s has a character that can't be printed", strict.Quote(text))
	}
}
