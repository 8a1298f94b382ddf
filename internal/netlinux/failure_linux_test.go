package netlinux_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// tryEverything does what a user without capabilities may not.
func tryEverything([]string) error {
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	_, bridgeErr := h.AddBridge(bridge("br1"), mark)
	_, tapErr := h.AddTAP("tap1", 0)
	_, tunnelErr := h.AddWireGuard(context.Background(), netplan.WireGuard{Name: "svwg0", Tunnel: &netconfig.Tunnel{}}, mark)
	_, lockErr := h.Lock(context.Background())
	var wrong []error
	for what, err := range map[string]error{
		"bridge":  bridgeErr,
		"repair":  h.SetBridge(2, bridge("br0")),
		"tap":     tapErr,
		"tunnel":  tunnelErr,
		"attach":  h.AttachTAP(netlinux.Port{Index: 3, Bridge: 2, MTU: 1400, Mark: mark}),
		"delete":  h.DeleteLink(context.Background(), "br0", 0, mark),
		"lock":    lockErr,
		"sysctl":  h.SetSysctl("net/ipv4/ip_forward", "1"),
		"rule":    h.AddRule(ruleForms[0]),
		"no rule": h.DeleteRule(ruleForms[1]),
		"route":   h.AddRoute(netplan.Route{Table: 5170, To: netip.MustParsePrefix("10.50.0.0/16"), Iface: "br0"}),
	} {
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.NotPermitted || !strings.Contains(e.Hint, "CAP_NET_ADMIN") {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	if _, err := h.Facts(context.Background(), "br0", ""); err != nil { // looking is allowed
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

func TestMissingCapabilityIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		addBridge(t, h, "br0")
		addPort(t, h, "tap0", look(t, "br0").Attrs().Index)
		must(t, h.AddRule(ruleForms[1]))
		cmd := play(t, "refused")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		must(t, cmd.Run())
	})
}

// addTAPWithoutDriver runs in a mount namespace of its own.
func addTAPWithoutDriver([]string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("empty", "/dev/net", "tmpfs", 0, ""); err != nil {
		return err
	}
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	_, err = h.AddTAP("tap0", 0)
	if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.TapCreateFailed || !strings.Contains(e.Hint, "modprobe tun") {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

func TestMissingDriverIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		cmd := play(t, "no tun")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		must(t, cmd.Run())
	})
}
