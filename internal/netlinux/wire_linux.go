package netlinux

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// AddWire makes a wire to another network namespace: a link here, whose index is
// returned, and one there, both off. They go together, at the latest with that
// namespace. If there is a link of one of the names the error
// matches [fs.ErrExist].
//
// An end has one queue, as a TAP does: else the kernel makes one for each processor.
func (h *Host) AddWire(name, end string, to *Namespace, mark string) (index int, err error) {
	err = h.route.change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		linkHeader(0),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(WireMTU)),
		nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(provisionalGroup(mark))),
		nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1)),
		nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1)),
		wireInfo(end, to))
	if err == nil {
		index, err = h.index(name)
	}
	return index, failed(errcode.TapCreateFailed, "create wire", name, err)
}

// wireInfo is what makes a link one end of a wire, with the other end.
func wireInfo(end string, to *Namespace) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	peer := data.AddRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(linkHeader(0))
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(end))
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(WireMTU))
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1))
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.file.Fd())))
	return info
}
