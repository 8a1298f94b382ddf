package netlinux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// AddWireGuard makes a WireGuard interface of the kernel with its mark, keys, peers
// and addresses, then switches it on and returns its index. The plan has to have a
// tunnel. If there is a link of that name the error matches [fs.ErrExist] and that
// link is left alone. Without WireGuard in the kernel the error matches
// [errors.ErrUnsupported].
//
// Names of endpoints are looked up once, before anything is made. IPv6 addresses of
// the interface are left out where the host has IPv6 switched off. An interface
// that could not be finished is removed again.
func (h *Host) AddWireGuard(ctx context.Context, w netplan.WireGuard, mark string) (index int, err error) {
	const op = "create wireguard interface"
	endpoints, err := resolve(ctx, w.Tunnel.Peers)
	if err != nil {
		return 0, err
	}
	index, err = h.makeWireGuard(w, mark)
	if err != nil {
		err = failed(errcode.WireGuardSetupFailed, op, w.Name, err)
		if errors.Is(err, unix.EOPNOTSUPP) {
			hint(err, "load the kernel module: modprobe wireguard; or use an existing interface, such as one of wireguard-go")
		}
		return 0, err
	}
	if err := h.finishWireGuard(ctx, index, w, endpoints, mark); err != nil {
		undo := h.route.change(unix.RTM_DELLINK, 0, linkHeader(index))
		return 0, failed(errcode.WireGuardSetupFailed, op, w.Name, errors.Join(err, undo))
	}
	return index, nil
}

// makeWireGuard makes the interface, switched off and without keys.
func (h *Host) makeWireGuard(w netplan.WireGuard, mark string) (index int, err error) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("wireguard"))
	parts := []nl.NetlinkRequestData{
		linkHeader(0),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(w.Name)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(provisionalGroup(mark))),
		info,
	}
	if w.MTU != 0 {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(w.MTU))))
	}
	if err := h.route.change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...); err != nil {
		return 0, err
	}
	l, err := h.linkByName(w.Name)
	return l.Index, err
}

// finishWireGuard gives the interface all that it needs before it is switched on:
// its peers never see it half made.
func (h *Host) finishWireGuard(ctx context.Context, index int, w netplan.WireGuard, endpoints []*net.UDPAddr, mark string) error {
	if err := configure(ctx, w.Name, w.Tunnel, endpoints); err != nil {
		return err
	}
	for _, address := range w.Tunnel.Addresses {
		err := h.addAddress(index, address)
		// What the kernel says when IPv6 is off for the interface, or altogether.
		if off := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EOPNOTSUPP); off && address.Addr().Is6() {
			continue
		}
		if err != nil {
			return fmt.Errorf("add address %s: %w", address, err)
		}
	}
	return h.route.change(unix.RTM_SETLINK, 0, linkUp(index),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(mark)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(0)))
}

func (h *Host) addAddress(index int, p netip.Prefix) error {
	family := unix.AF_INET
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	head := nl.NewIfAddrmsg(family)
	head.Index, head.Prefixlen = uint32(index), uint8(p.Bits())
	address := p.Addr().AsSlice()
	// Without a route to its prefix, which would lead the host's own traffic there.
	return h.route.change(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, head,
		nl.NewRtAttr(unix.IFA_LOCAL, address), nl.NewRtAttr(unix.IFA_ADDRESS, address),
		nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NOPREFIXROUTE)))
}

// resolve returns the peers' endpoints, nil for those without one.
func resolve(ctx context.Context, peers []netconfig.Peer) ([]*net.UDPAddr, error) {
	endpoints := make([]*net.UDPAddr, len(peers))
	for i, peer := range peers {
		if peer.Endpoint == "" {
			continue
		}
		endpoint, err := resolveEndpoint(ctx, peer.Endpoint)
		if err != nil {
			e := &errcode.Error{
				Code: errcode.WireGuardSetupFailed, Op: "look up endpoint", Subject: peer.Endpoint, Err: err,
				Hint: "check the host's DNS, or write the endpoint's address",
			}
			if ctx.Err() != nil {
				e.Code, e.Hint, e.Err = errcode.Cancelled, "", context.Cause(ctx)
			}
			return nil, e
		}
		endpoints[i] = endpoint
	}
	return endpoints, nil
}

func resolveEndpoint(ctx context.Context, text string) (*net.UDPAddr, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrs[0].Unmap(), uint16(port))), nil
}
