package netplan

import (
	"fmt"

	"github.com/smartvm/smartvm/netconfig"
)

func (t *text) policies(p *Plan) {
	if p.config.Egress == nil {
		t.section("Egress policy", "none, guests reach all that the tables below do not drop")
	} else {
		t.section("Egress policy", "the first rule that matches decides")
		t.policy(p.config.Egress)
	}
	for _, g := range p.guests {
		if g.Egress != nil {
			t.section("Egress policy of "+g.TAP, "what it allows, the one above must allow too")
			t.policy(g.Egress)
		}
	}
}

func (t *text) policy(p *netconfig.Policy) {
	p = p.WithDefaults()
	for i, r := range p.Rules {
		line := fmt.Sprintf("%s: %s", RuleComment(i), r.Action)
		if r.To.IsValid() {
			line += " to " + r.To.String()
		}
		if r.Protocol != netconfig.All {
			line += ", " + string(r.Protocol)
		}
		if len(r.Ports) > 0 {
			line += " " + list(r.Ports)
		}
		line += logged(r.Log)
		if r.Comment != "" {
			line += "  # " + r.Comment
		}
		t.printf("  %s\n", line)
	}
	t.printf("  %s: %s%s\n", RuleComment(-1), p.Default, logged(p.LogDefault))
}

func logged(log bool) string {
	if log {
		return ", logged"
	}
	return ""
}
