package netlinux_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestBridgeIsMadeWithItsMarkAddressAndSettings(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		index := addBridge(t, h, "br0")
		got, err := h.Link("br0")
		must(t, err)
		want := netlinux.Link{Name: "br0", Owner: -1, Index: index, Alias: mark, Kind: "bridge", MTU: 1400, Up: true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		addrs, err := netlink.AddrList(look(t, "br0"), netlink.FAMILY_V4)
		must(t, err)
		if len(addrs) != 1 || addrs[0].IPNet.String() != "172.30.0.1/24" || addrs[0].Broadcast.String() != "172.30.0.255" {
			t.Errorf("addresses %v", addrs)
		}
		if mac := look(t, "br0").Attrs().HardwareAddr; mac[0]&3 != 2 {
			t.Errorf("%s is not locally administered", mac)
		}
		if group := look(t, "br0").Attrs().Group; group != 0 {
			t.Errorf("finished, and still in group %d", group)
		}
		data := linkData(t, "br0", nl.IFLA_INFO_DATA)
		for what, want := range map[uint16]uint32{nl.IFLA_BR_STP_STATE: 0, nl.IFLA_BR_FORWARD_DELAY: 0} {
			if got := binary.NativeEndian.Uint32(data[what]); got != want {
				t.Errorf("IFLA_BR_%d is %d", what, got)
			}
		}
		if got := data[nl.IFLA_BR_MCAST_SNOOPING]; !bytes.Equal(got, []byte{0}) {
			t.Errorf("multicast snooping is %v", got)
		}
	})
}

// linkData returns the attributes of a link's driver, or of its bridge's driver for a port.
func linkData(tb testing.TB, name string, which uint16) map[uint16][]byte {
	tb.Helper()
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	must(tb, err)
	return infoOf(tb, messages[0], which)
}

func infoOf(tb testing.TB, message []byte, which uint16) map[uint16][]byte {
	tb.Helper()
	found := map[uint16][]byte{}
	for _, a := range attributes(tb, message[unix.SizeofIfInfomsg:], unix.IFLA_LINKINFO) {
		for _, info := range attributes(tb, a, which) {
			all, err := nl.ParseRouteAttr(info)
			must(tb, err)
			for _, one := range all {
				found[one.Attr.Type] = one.Value
			}
		}
	}
	return found
}

func attributes(tb testing.TB, payload []byte, which uint16) (values [][]byte) {
	tb.Helper()
	all, err := nl.ParseRouteAttr(payload)
	must(tb, err)
	for _, a := range all {
		if a.Attr.Type&^unix.NLA_F_NESTED == which {
			values = append(values, a.Value)
		}
	}
	return values
}

func TestBridgeDoesNotTakeOverALinkOfItsName(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		before := someLink(t, "br0", "10.1.0.1/24", 1300)
		_, err := h.AddBridge(bridge("br0"), mark)
		if !errors.Is(err, fs.ErrExist) || !errors.Is(err, errcode.BridgeSetupFailed) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(before.Attrs().MTU, look(t, "br0").Attrs().MTU); diff != "" || look(t, "br0").Type() != "veth" {
			t.Error("the other link was changed")
		}
	})
}

func TestBridgeThatCannotBeFinishedIsRemoved(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		b := bridge("br0")
		b.MTU = 1 << 20 // more than a bridge can have
		if _, err := h.AddBridge(b, mark); !errors.Is(err, errcode.BridgeSetupFailed) {
			t.Errorf("got %v", err)
		}
		if look(t, "br0") != nil {
			t.Error("it is still there")
		}
	})
}

func TestBridgeKeepsItsAddressesAndMTUWhenPortsComeAndGo(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		index := addBridge(t, h, "br0")
		mac := look(t, "br0").Attrs().HardwareAddr.String()
		for _, mtu := range []int{1400, 1280} { // the second is a port of somebody else
			tap, err := h.AddTAP("tap0", 0)
			must(t, err)
			must(t, h.AttachTAP(netlinux.Port{Index: tap, Bridge: index, MTU: mtu, Mark: mark}))
			must(t, netlink.LinkSetHardwareAddr(look(t, "tap0"), []byte{2, 0, 0, 0, 0, 1})) // the lowest
			for range 2 {
				if now := look(t, "br0").Attrs(); now.HardwareAddr.String() != mac || now.MTU != 1400 {
					t.Errorf("MTU %d, address %s, was %s", now.MTU, now.HardwareAddr, mac)
				}
				must(t, h.DeleteLink(t.Context(), "tap0", tap, mark))
			}
		}
	})
}

func TestBridgeIsRepaired(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		index := addBridge(t, h, "br0")
		l := look(t, "br0")
		must(t, netlink.AddrDel(l, &netlink.Addr{IPNet: ipNet("172.30.0.1/24")}))
		must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet("10.9.0.1/24")}))
		must(t, netlink.LinkSetDown(l))
		must(t, netlink.LinkSetMTU(l, 1500))
		for range 2 { // the second time there is nothing to do
			must(t, h.SetBridge(index, bridge("br0")))
			now, err := h.Link("br0")
			must(t, err)
			addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
			must(t, err)
			if !now.Up || now.MTU != 1400 || len(addrs) != 2 || now.Alias != mark {
				t.Errorf("got %+v with %v", now, addrs)
			}
		}
	})
}
