package netlinux

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

// AddBridge makes a bridge with its address and mark, switches it on and returns
// its index. If there is a link of that name the error matches [fs.ErrExist] and
// that link is left alone. A bridge that could not be finished is removed again.
func (h *Host) AddBridge(b netplan.Bridge, mark string) (index int, err error) {
	const op = "create bridge"
	err = h.route.change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		linkHeader(0),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(b.Name)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, bridgeAddress(mark)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(provisionalGroup(mark))),
		// Another than it is to have, since to set the one that is there changes nothing.
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(b.MTU-1))),
		bridgeInfo())
	if err != nil {
		return 0, failed(errcode.BridgeSetupFailed, op, b.Name, err)
	}
	l, err := h.linkByName(b.Name)
	if err != nil {
		return 0, failed(errcode.BridgeSetupFailed, op, b.Name, err)
	}
	if err := h.setBridge(l.Index, b,
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(mark)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(0))); err != nil {
		undo := h.route.change(unix.RTM_DELLINK, 0, linkHeader(l.Index))
		return 0, failed(errcode.BridgeSetupFailed, op, b.Name, errors.Join(err, undo))
	}
	return l.Index, nil
}

// SetBridge gives a bridge back what it may have lost: its address, its MTU, and
// that it is on. Further addresses are left alone.
func (h *Host) SetBridge(index int, b netplan.Bridge) error {
	return failed(errcode.BridgeSetupFailed, "set up bridge", b.Name, h.setBridge(index, b))
}

func (h *Host) setBridge(index int, b netplan.Bridge, more ...nl.NetlinkRequestData) error {
	// The MTU is set here and not on creation: only one that was set keeps its value,
	// whatever ports come and go.
	parts := append([]nl.NetlinkRequestData{linkUp(index), nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(b.MTU)))}, more...)
	if err := h.route.change(unix.RTM_SETLINK, 0, parts...); err != nil {
		return err
	}
	head := nl.NewIfAddrmsg(unix.AF_INET)
	head.Index, head.Prefixlen = uint32(index), uint8(b.Addr.Bits())
	address := b.Addr.Addr().AsSlice()
	return h.route.change(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, head,
		nl.NewRtAttr(unix.IFA_LOCAL, address),
		nl.NewRtAttr(unix.IFA_ADDRESS, address),
		nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(b.Addr)))
}

// bridgeInfo is what makes a link a bridge: one that forwards from the first
// moment, takes part in no spanning tree and keeps no account of multicast groups.
func bridgeInfo() *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, nl.Uint8Attr(0))
	return info
}

func bridgeAddress(mark string) []byte {
	address := netplan.BridgeAddr(mark)
	return address[:]
}

func broadcast(p netip.Prefix) []byte {
	last := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return last[:]
}
