package hardening

import "strings"

var networks = []check{
	{
		name: "forwarding", severity: Should, look: checkForwarding,
		why: "a host that forwards everything is a way for guests and neighbours into each other's networks",
	},
	{
		name: "metadata address", severity: Must, look: checkMetadata,
		why: "in a cloud, 169.254.169.254 hands out the credentials of the host",
	},
}

func checkForwarding(l *look) {
	n, ok := l.number("/proc/sys/net/ipv4/ip_forward")
	if !ok {
		return
	}
	const fix = "nft add chain inet filter forward '{ type filter hook forward priority 0; policy drop; }'; networks of smartvm add accept rules of their own"
	switch {
	case n == 0:
		l.ok("it is off; the first network of smartvm switches it on")
	case !l.Firewall.Seen:
		l.unknown("it is on, and what the firewall drops can't be seen: %s", l.Firewall.Problem)
		l.finding.Fix = "run it as root"
	case len(l.Firewall.Drops) == 0:
		l.weak(fix, "it is on, and no firewall drops what it does not know")
	default:
		l.ok("what is not known is dropped: %s", strings.Join(l.Firewall.Drops, "; "))
	}
}

// checkMetadata is about networks of smartvm; nothing is known about TAPs that others
// make.
func checkMetadata(l *look) {
	if l.NetworksProblem != "" {
		l.unknown("which networks are up can't be told: %s", l.NetworksProblem)
		return
	}
	var open []string
	for _, n := range l.Networks {
		l.note(n.Name, "allow_link_local: "+yesNo(n.LinkLocal))
		if n.LinkLocal {
			open = append(open, n.Name)
		}
	}
	if len(open) > 0 {
		l.weak("take allow_link_local out of the network's file", "guests of %s reach it", strings.Join(open, ", "))
		return
	}
	l.ok("networks of smartvm drop it; TAPs that others make are theirs to guard")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
