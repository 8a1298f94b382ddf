package nettest

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Snapshot is the state of a namespace: a line for each link, address, route of any
// table, routing rule, permanent neighbour, setting below /proc/sys/net, and each
// table, chain, rule, set and element of nftables. What changes by itself is left out:
// counters, learned neighbours, and what the kernel adds for IPv6's own addresses.
type Snapshot []string

// Snapshot returns the state of the namespace.
func (n *Namespace) Snapshot(tb testing.TB) Snapshot {
	tb.Helper()
	var s Snapshot
	err := n.Do(func() error {
		for _, part := range []func() ([]string, error){
			n.links, n.addresses, n.routes, n.rules, n.neighbours, settings, ruleset,
		} {
			lines, err := part()
			if err != nil {
				return err
			}
			s = append(s, lines...)
		}
		return nil
	})
	if err != nil {
		tb.Fatal("look at the namespace: ", err)
	}
	slices.Sort(s)
	return s
}

// Diff returns the lines that only s has, after "- ", and those that only later has,
// after "+ ".
func (s Snapshot) Diff(later Snapshot) []string {
	var lines []string
	for _, line := range s {
		if _, found := slices.BinarySearch(later, line); !found {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range later {
		if _, found := slices.BinarySearch(s, line); !found {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

// Same fails the test if the namespace's state is another now.
func (n *Namespace) Same(tb testing.TB, before Snapshot) {
	tb.Helper()
	if diff := before.Diff(n.Snapshot(tb)); len(diff) > 0 {
		tb.Errorf("the namespace is not what it was:\n  %s", strings.Join(diff, "\n  "))
	}
}

func (n *Namespace) links() (lines []string, err error) {
	links, err := n.nl.LinkList()
	for _, link := range links {
		a := link.Attrs()
		lines = append(lines, fmt.Sprintf("link %s: index %d, kind %s, alias %q, mac %s, mtu %d, master %d, group %d, up %t",
			a.Name, a.Index, link.Type(), a.Alias, a.HardwareAddr, a.MTU, a.MasterIndex, a.Group, a.Flags&net.FlagUp != 0))
	}
	return lines, err
}

func (n *Namespace) addresses() (lines []string, err error) {
	addrs, err := n.nl.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() || a.IP.To4() != nil {
			lines = append(lines, fmt.Sprintf("address %s: link %d, label %q, peer %v, scope %d", a.IPNet, a.LinkIndex, a.Label, a.Peer, a.Scope))
		}
	}
	return lines, err
}

func (n *Namespace) routes() (lines []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		routes, err := n.nl.RouteListFiltered(family, all, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if family == netlink.FAMILY_V6 && r.Protocol == unix.RTPROT_KERNEL && r.Dst != nil &&
				(r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast()) {
				continue // comes when the kernel is done with an address
			}
			lines = append(lines, fmt.Sprintf("route %v: table %d, type %d, link %d, via %v, source %v, metric %d, scope %d, protocol %d, mtu %d, paths %v",
				r.Dst, r.Table, r.Type, r.LinkIndex, r.Gw, r.Src, r.Priority, r.Scope, r.Protocol, r.MTU, r.MultiPath))
		}
	}
	return lines, nil
}

func (n *Namespace) rules() (lines []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := n.nl.RuleList(family)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			mask := uint32(0)
			if r.Mask != nil {
				mask = *r.Mask
			}
			lines = append(lines, fmt.Sprintf("rule %d: family %d, from %v, to %v, iif %q, oif %q, mark %#x/%#x, not %t, table %d, goto %d, type %d, protocol %d",
				r.Priority, family, r.Src, r.Dst, r.IifName, r.OifName, r.Mark, mask, r.Invert, r.Table, r.Goto, r.Type, r.Protocol))
		}
	}
	return lines, nil
}

func (n *Namespace) neighbours() (lines []string, err error) {
	neighbours, err := n.nl.NeighList(0, netlink.FAMILY_ALL)
	for _, e := range neighbours {
		if e.State&netlink.NUD_PERMANENT != 0 {
			lines = append(lines, fmt.Sprintf("neighbour %s: link %d, mac %s", e.IP, e.LinkIndex, e.HardwareAddr))
		}
	}
	return lines, err
}

// settings reads what can be read below /proc/sys/net, in the thread's namespace.
func settings() (lines []string, err error) {
	const dir = "/proc/sys/net"
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // of a link that is going away
			return nil
		}
		if err != nil || entry.IsDir() || filepath.Base(path) == "nf_conntrack_count" {
			return err
		}
		if value, err := os.ReadFile(path); err == nil { //nolint:gosec // /proc has no links of others; some can only be written
			lines = append(lines, fmt.Sprintf("setting %s: %s", strings.TrimPrefix(path, "/proc/sys/"), strings.Fields(string(value))))
		}
		return nil
	})
	return lines, err
}
