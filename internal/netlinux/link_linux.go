package netlinux

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// skipStatistics is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h: they are half of
// what the kernel says about a link.
const skipStatistics = 1 << 3

// link is a Link with what its identity needs besides.
type link struct {
	Link
	group uint32
}

// Link returns the link of that name; its error matches [fs.ErrNotExist] if there
// is none. An alternative name (ip link property add) is a name like any other.
func (h *Host) Link(name string) (Link, error) {
	l, err := h.linkByName(name)
	return l.Link, failed(errcode.NetworkFailed, "look up link", name, err)
}

// Links returns all links of the namespace.
func (h *Host) Links() ([]Link, error) {
	messages, err := dump(func() ([][]byte, error) {
		return h.route.get(unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), withoutStatistics())
	})
	if err != nil {
		return nil, failed(errcode.NetworkFailed, "list", "links", err)
	}
	links := make([]Link, len(messages))
	for i, m := range messages {
		l, err := parseLink(m)
		if err != nil {
			return nil, failed(errcode.NetworkFailed, "list", "links", err)
		}
		links[i] = l.Link
	}
	return links, nil
}

// index returns the number of a link. It is an ioctl of any socket, and faster than a
// question to rtnetlink.
func (h *Host) index(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = os.NewSyscallError("SIOCGIFINDEX", unix.IoctlIfreq(h.route.fd(), unix.SIOCGIFINDEX, request))
	}
	if err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

func (h *Host) linkByName(name string) (link, error) {
	return h.findLink(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

func (h *Host) linkByIndex(index int) (link, error) {
	return h.findLink(linkHeader(index))
}

func (h *Host) findLink(which ...nl.NetlinkRequestData) (link, error) {
	messages, err := h.route.get(unix.RTM_GETLINK, 0, unix.RTM_NEWLINK, append(which, withoutStatistics())...)
	switch {
	case errors.Is(err, unix.ENODEV):
		return link{}, fs.ErrNotExist
	case err != nil:
		return link{}, err
	case len(messages) != 1:
		return link{}, fmt.Errorf("the kernel answered with %d links", len(messages))
	}
	return parseLink(messages[0])
}

// linkHeader is the head of a message about one link.
func linkHeader(index int) *nl.IfInfomsg {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	return m
}

// linkUp is the head of a message that switches a link on.
func linkUp(index int) *nl.IfInfomsg {
	m := linkHeader(index)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	return m
}

func withoutStatistics() *nl.RtAttr {
	return nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics))
}

// parseLink reads the payload of an RTM_NEWLINK. (The library's own reader looks
// into sysfs for TAPs, which shows the links of whoever mounted it.)
func parseLink(message []byte) (link, error) {
	if len(message) < unix.SizeofIfInfomsg {
		return link{}, errors.New("the kernel's answer is too short for a link")
	}
	head := nl.DeserializeIfInfomsg(message)
	attributes, err := nl.ParseRouteAttr(message[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, err
	}
	l := link{Link: Link{Owner: -1, Index: int(head.Index), Up: head.Flags&unix.IFF_UP != 0}}
	for _, a := range attributes {
		switch a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER) {
		case unix.IFLA_IFNAME:
			l.Name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_IFALIAS:
			l.Alias = unix.ByteSliceToString(a.Value)
		case unix.IFLA_MTU:
			l.MTU = int(number(a.Value))
		case unix.IFLA_MASTER:
			l.Master = int(number(a.Value))
		case unix.IFLA_GROUP:
			l.group = number(a.Value)
		case unix.IFLA_CARRIER:
			l.Carrier = len(a.Value) > 0 && a.Value[0] != 0
		case unix.IFLA_LINKINFO:
			if err := parseInfo(&l.Link, a.Value); err != nil {
				return link{}, err
			}
		}
	}
	return l, nil
}

// parseInfo reads what the link's driver says of it. Its name comes first.
func parseInfo(l *Link, info []byte) error {
	attributes, err := nl.ParseRouteAttr(info)
	if err != nil {
		return err
	}
	for _, a := range attributes {
		switch {
		case a.Attr.Type == nl.IFLA_INFO_KIND:
			l.Kind = unix.ByteSliceToString(a.Value)
		case a.Attr.Type&^unix.NLA_F_NESTED == nl.IFLA_INFO_DATA && l.Kind == "tun":
			data, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return err
			}
			for _, d := range data {
				if d.Attr.Type == unix.IFLA_TUN_OWNER {
					l.Owner = int(number(d.Value))
				}
			}
		}
	}
	return nil
}

// number reads an attribute of four bytes; 0 if it is too short.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// A link is made without an alias, and given one by the next message. Whoever dies
// in between leaves a link that says by its group whose it is: a group is taken on
// creation. The second message puts it back to the default.
func provisionalGroup(mark string) uint32 {
	sum := sha256.Sum256([]byte(mark))
	return binary.BigEndian.Uint32(sum[:])>>1 | 1 // 31 bits, as ip can show, and never the default group 0
}
