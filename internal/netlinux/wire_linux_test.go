package netlinux_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// newNetwork makes an empty network namespace.
func newNetwork(tb testing.TB) *netlinux.Namespace {
	tb.Helper()
	ns, err := netlinux.NewNamespace()
	must(tb, err)
	tb.Cleanup(func() { _ = ns.Close() })
	return ns
}

// inside calls f with the kernel of a namespace.
func inside(tb testing.TB, n *nettest.Namespace, f func(*netlinux.Host) error) error {
	tb.Helper()
	return n.Do(func() error {
		h, err := netlinux.Open()
		if err != nil {
			return err
		}
		return errors.Join(f(h), h.Close())
	})
}

func TestWireIsOffAndGoesWithTheNamespaceThatItLeadsTo(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		usual := netplan.Bridge{Name: "br0", Addr: bridge("br0").Addr, MTU: 1500} // as the kernel makes them
		to, err := h.AddBridge(usual, mark)
		must(t, err)
		ns := newNetwork(t)
		index, err := h.AddWire("wire0", "end0", ns, mark)
		must(t, err)
		got, err := h.Link("wire0")
		must(t, err)
		if diff := cmp.Diff(netlinux.Link{Name: "wire0", Owner: -1, Index: index, Kind: "veth", MTU: netlinux.WireMTU}, got); diff != "" {
			t.Error(diff)
		}
		if group := look(t, "wire0").Attrs().Group; group != netlinux.ProvisionalGroup(mark) {
			t.Errorf("before it has its mark the link is in group %d", group)
		}
		must(t, h.AttachTAP(netlinux.Port{Index: index, Bridge: to, MTU: netlinux.WireMTU, Mark: mark, Isolated: true, Wire: true}))
		port := look(t, "wire0").Attrs()
		if port.Alias != mark || port.Group != 0 || port.MasterIndex != to || port.MTU != netlinux.WireMTU {
			t.Errorf("the port is %+v", port)
		}
		if mtu := look(t, "br0").Attrs().MTU; mtu != usual.MTU {
			t.Errorf("the bridge has the MTU %d of its port", mtu)
		}
		must(t, ns.Close())
		eventually(t, "the wire goes", func() bool { return look(t, "wire0") == nil })
		must(t, h.DeleteLink(t.Context(), "wire0", index, mark))
	})
}

func TestWireTakesNoNameOfAnother(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		ns := newNetwork(t)
		someLink(t, "other", "", 1500)
		_, err := h.AddWire("wire0", "end0", ns, mark)
		must(t, err)
		for _, names := range [][2]string{{"other", "end1"}, {"wire0", "end1"}, {"wire1", "end0"}} {
			if _, err := h.AddWire(names[0], names[1], ns, mark); !errors.Is(err, fs.ErrExist) || !errors.Is(err, errcode.TapCreateFailed) {
				t.Errorf("%v: %v", names, err)
			}
		}
		if look(t, "wire1") != nil {
			t.Error("half a wire was left")
		}
	})
}

// Its maker was killed before the wire had its mark, or is just about to give it one.
func TestDeleteRemovesAWireWithoutAMark(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		ns := newNetwork(t)
		index, err := h.AddWire("wire0", "end0", ns, mark)
		must(t, err)
		must(t, h.DeleteLink(t.Context(), "wire0", index, foreign))
		if look(t, "wire0") == nil {
			t.Fatal("somebody else's wire was removed")
		}
		must(t, h.DeleteLink(t.Context(), "wire0", 0, mark))
		if look(t, "wire0") != nil {
			t.Error("the wire is still there")
		}
		err = inside(t, nettest.Namespaced(t, ns.File()), func(h *netlinux.Host) error {
			_, err := h.Link("end0")
			return err
		})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the other end: %v, want it gone", err)
		}
	})
}

// translation is the table of a clone whose gateway is another for it.
func translation() ruleset.Table {
	g := guest("svtwire", 2)
	g.Inside = &netplan.Inside{
		TAP: "tap0", MAC: netplan.HardwareAddr{2, 1}, Addr: netip.MustParseAddr("10.0.0.2"),
		Gateway: netip.MustParseAddr("10.0.0.1"), GatewayMAC: netplan.HardwareAddr{2, 2},
	}
	return netplan.Translation(g, netip.MustParseAddr("172.30.0.1"), netplan.BridgeAddr(mark))
}

func TestTranslationIsMadeAsItIsWritten(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("nft"))
	nettest.Isolated(t, func(t *testing.T) {
		written, made := nettest.NewNamespace(t), nettest.NewNamespace(t)
		for _, n := range []*nettest.Namespace{written, made} {
			n.AddTAP(t, "tap0")
			n.AddTAP(t, "svwwire")
		}
		nft(t, written, translation().String(), "-f", "-")
		must(t, inside(t, made, func(h *netlinux.Host) error {
			if err := h.Make(translation()); err != nil {
				return err
			}
			missing, err := h.Missing([]ruleset.Table{translation()})
			if len(missing) > 0 {
				t.Errorf("missing %q", missing)
			}
			if again := h.Make(translation()); !errors.Is(again, fs.ErrExist) {
				t.Errorf("made twice: %v", again)
			}
			return err
		}))
		if diff := cmp.Diff(nft(t, written, "", "list", "ruleset"), nft(t, made, "", "list", "ruleset")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTranslationNeedsItsLinks(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		n := nettest.Host(t)
		h := open(t)
		n.AddTAP(t, "tap0")
		if err := h.Make(translation()); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "svwwire") {
			t.Errorf("without the wire: %v", err)
		}
		n.AddTAP(t, "svwwire")
		if err := h.Replace([]ruleset.Table{translation()}); err == nil {
			t.Error("a rule that sends frames through a link was made where nobody looks the link up")
		}
		must(t, h.Make(translation()))
	})
}
