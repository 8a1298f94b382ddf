package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

// protocol is who made a route or a routing rule, by the number that the kernel
// keeps for that. Nobody else has this one (linux/rtnetlink.h, iproute2's rt_protos).
const protocol = 118

// AddRoute adds a route of the network's own table. It is no error if the very
// same route is there already.
func (h *Host) AddRoute(r netplan.Route) error {
	const op = "add route"
	route, err := h.route4(r)
	if err != nil {
		return failed(errcode.NetworkFailed, op, routeText(r), err)
	}
	route.Protocol = protocol
	err = h.handle.RouteAdd(&route)
	if errors.Is(err, fs.ErrExist) {
		// The kernel compares the destination only.
		if there, listErr := h.HasRoute(r); there || listErr != nil {
			return listErr
		}
		err = fmt.Errorf("table %d has another route there: %w", r.Table, err)
	}
	return failed(errcode.NetworkFailed, op, routeText(r), err)
}

// DeleteRoute removes a route that AddRoute has added. It is no error if it is
// gone, its interface too.
func (h *Host) DeleteRoute(r netplan.Route) error {
	route, err := h.route4(r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		route.Protocol = protocol
		err = h.handle.RouteDel(&route)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return failed(errcode.NetworkFailed, "delete route", routeText(r), err)
}

// HasRoute reports whether the table has the route, whoever has added it.
func (h *Host) HasRoute(r netplan.Route) (bool, error) {
	route, err := h.route4(r)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, failed(errcode.NetworkFailed, "look up route", routeText(r), err)
	}
	routes, err := h.routes(r.Table)
	return slices.ContainsFunc(routes, func(other netlink.Route) bool {
		return other.LinkIndex == route.LinkIndex && destination(other) == r.To.Masked() &&
			other.Type == route.Type && other.Priority == 0 && other.Gw == nil && other.Via == nil
	}), failed(errcode.NetworkFailed, "look up route", routeText(r), err)
}

// Routes returns the IPv4 routes of a table, whoever has added them. Those that lead
// to no single interface have none.
func (h *Host) Routes(table int) ([]netplan.Route, error) {
	const op = "list routes of table"
	kept, err := h.routes(table)
	if err != nil {
		return nil, failed(errcode.NetworkFailed, op, strconv.Itoa(table), err)
	}
	all := make([]netplan.Route, len(kept))
	for i, r := range kept {
		all[i] = netplan.Route{Table: table, To: destination(r)}
		if r.LinkIndex == 0 {
			continue
		}
		l, err := h.linkByIndex(r.LinkIndex)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, failed(errcode.NetworkFailed, op, strconv.Itoa(table), err)
		}
		all[i].Iface = l.Name
	}
	return all, nil
}

// routes returns the IPv4 routes of a table.
func (h *Host) routes(table int) ([]netlink.Route, error) {
	return dump(func() ([]netlink.Route, error) {
		return h.handle.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
}

// route4 returns the library's form of a route; its error matches [fs.ErrNotExist]
// if the interface is gone.
func (h *Host) route4(r netplan.Route) (netlink.Route, error) {
	l, err := h.linkByName(r.Iface)
	if err != nil {
		return netlink.Route{}, err
	}
	to := r.To.Masked()
	return netlink.Route{
		LinkIndex: l.Index, Table: r.Table, Type: unix.RTN_UNICAST, Scope: unix.RT_SCOPE_LINK,
		Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
	}, nil
}

// destination of a route; all of IPv4 for a default route, however it is written.
func destination(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	addr, _ := netip.AddrFromSlice(r.Dst.IP)
	ones, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}

func routeText(r netplan.Route) string {
	return fmt.Sprintf("%s dev %s table %d", r.To, r.Iface, r.Table)
}
