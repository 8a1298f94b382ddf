package netlinux

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

// Facts says what a plan for a network depends on. Bridge is the network's own:
// routes through it are left out. Wireguard is the name of the interface that the
// network uses, "" without one; a userspace implementation of WireGuard, which is
// a TUN device, counts.
func (h *Host) Facts(ctx context.Context, bridge, wireguard string) (netplan.Facts, error) {
	facts, err := h.facts(ctx, bridge, wireguard)
	return facts, failed(errcode.NetworkFailed, "look at", "host network", err)
}

func (h *Host) facts(ctx context.Context, bridge, wireguard string) (f netplan.Facts, err error) {
	if err := context.Cause(ctx); err != nil {
		return f, err
	}
	list, err := h.Links()
	if err != nil {
		return f, err
	}
	links := map[int]Link{}
	for _, l := range list {
		links[l.Index] = l
		if l.Name == wireguard && (l.Kind == "wireguard" || l.Kind == "tun") {
			f.WireGuardMTU = l.MTU
		}
	}
	routes, err := h.routes(unix.RT_TABLE_MAIN)
	if err != nil {
		return f, err
	}
	// Others, as blackhole, lead nowhere: who is in their way takes nothing from anybody.
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return r.Type != unix.RTN_UNICAST })
	f.Uplink, f.UplinkMTU = uplink(routes, links, bridge)
	for _, r := range routes {
		for _, hop := range hops(r) {
			if iface := links[hop].Name; iface != "" && iface != bridge {
				f.Routes = append(f.Routes, netplan.HostRoute{To: destination(r), Iface: iface})
			}
		}
	}
	own, err := h.addresses()
	if err != nil {
		return f, err
	}
	if f.Resolvers, err = resolvers(own, resolvConf, resolvedConf); err != nil {
		return f, err
	}
	if f.LegacyTables, err = legacyTables(); err != nil {
		return f, err
	}
	f.Barriers, err = h.Barriers(ctx)
	if errors.Is(err, errcode.NotPermitted) { // who can't look into tables can still plan
		err = nil
	}
	return f, err
}

// addresses returns the IPv4 addresses of the host.
func (h *Host) addresses() ([]netip.Addr, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return h.handle.AddrList(nil, unix.AF_INET) })
	var own []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			own = append(own, addr)
		}
	}
	return own, err
}

// uplink returns the first interface of the best default route and the size of
// packet that passes through all of them: what the kernel spreads over several
// links has to fit each.
func uplink(routes []netlink.Route, links map[int]Link, bridge string) (name string, mtu int) {
	best := -1
	for _, r := range routes {
		if destination(r).Bits() != 0 || best >= 0 && r.Priority >= best {
			continue
		}
		first, size := "", r.MTU
		for _, hop := range hops(r) {
			l, known := links[hop]
			if !known || l.Name == bridge {
				continue
			}
			if first == "" {
				first = l.Name
			}
			if size == 0 || l.MTU < size {
				size = l.MTU
			}
		}
		if first != "" {
			best, name, mtu = r.Priority, first, size
		}
	}
	return name, mtu
}

// hops returns the links that a route leads to; several with multipath. Those that
// are switched off carry nothing.
func hops(r netlink.Route) []int {
	if len(r.MultiPath) == 0 {
		if r.Flags&unix.RTNH_F_DEAD != 0 {
			return nil
		}
		return []int{r.LinkIndex}
	}
	var all []int
	for _, hop := range r.MultiPath {
		if hop.Flags&unix.RTNH_F_DEAD == 0 {
			all = append(all, hop.LinkIndex)
		}
	}
	return all
}
