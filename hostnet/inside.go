package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// Inside is how a guest knows itself that is a clone of another one, with the same
// addresses in its memory: it keeps them, and has addresses of its own on the bridge.
// They are translated in a network namespace that has nothing but the guest's TAPs.
type Inside struct {
	// Namespace is an empty network namespace, see [NewNamespace], or the one in which
	// another interface of the same VM is.
	Namespace *os.File `json:"-"`
	// TAP is the name of the TAP in the namespace. Default tap0.
	TAP string `json:"tap"`
	// MAC and Addr are the guest's. They are required.
	MAC  string     `json:"mac"`
	Addr netip.Addr `json:"addr"`
	// Gateway is whom the guest takes for its gateway. Default: the network's gateway.
	Gateway netip.Addr `json:"gateway"`
	// GatewayMAC is the gateway's Ethernet address as the guest has learned it. Default:
	// that of the network's gateway.
	GatewayMAC string `json:"gateway_mac"`
}

const defaultInsideTAP = "tap0"

// NewNamespace makes an empty network namespace for the Firecracker of a clone. It lasts
// as long as the file is open, or a process is in it: with the last of them go the TAPs
// and rules in it, and the ports of bridges that lead to it. A thread enters it by
// setns(2); /proc/PID/fd/N is a path to it.
func NewNamespace() (*os.File, error) {
	ns, err := proc.NewNetwork()
	if err != nil {
		return nil, failed(errcode.NetworkFailed, "make", "network namespace", err)
	}
	return ns, nil
}

// parse returns the value that rules are made of.
func (i *Inside) parse(k *known) (*netplan.Inside, error) {
	if i == nil {
		return nil, nil //nolint:nilnil // it is no clone, which is no error
	}
	in := &netplan.Inside{TAP: i.TAP, Addr: i.Addr, Gateway: i.Gateway, GatewayMAC: netplan.BridgeAddr(k.mark)}
	if in.TAP == "" {
		in.TAP = defaultInsideTAP
	}
	if !in.Gateway.IsValid() {
		in.Gateway = k.Config.Gateway()
	}
	var err, gatewayErr error
	in.MAC, err = netplan.ParseHardwareAddr(i.MAC)
	if i.GatewayMAC != "" {
		in.GatewayMAC, gatewayErr = netplan.ParseHardwareAddr(i.GatewayMAC)
	}
	if err = errors.Join(err, gatewayErr, checkInside(in)); err == nil && i.Namespace == nil {
		err = errors.New("there is no namespace")
	}
	if err != nil {
		return nil, failed(errcode.InvalidConfig, "attach clone", in.TAP, err)
	}
	return in, nil
}

// checkInside refuses what no rules can be made of.
func checkInside(i *netplan.Inside) error {
	errs := []error{netconfig.CheckInterfaceName(i.TAP)}
	for _, addr := range []netip.Addr{i.Addr, i.Gateway} {
		if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
			errs = append(errs, fmt.Errorf("%v is no IPv4 address of an interface", addr))
		}
	}
	if i.Addr == i.Gateway {
		errs = append(errs, fmt.Errorf("%v is both the guest and its gateway", i.Addr))
	}
	for _, mac := range []netplan.HardwareAddr{i.MAC, i.GatewayMAC} {
		if mac[0]&1 != 0 {
			errs = append(errs, fmt.Errorf("%v is no interface's address", mac))
		}
	}
	return errors.Join(errs...)
}

// insideInfo is what others are told of it.
func insideInfo(i *netplan.Inside) *Inside {
	if i == nil {
		return nil
	}
	return &Inside{TAP: i.TAP, MAC: i.MAC.String(), Addr: i.Addr, Gateway: i.Gateway, GatewayMAC: i.GatewayMAC.String()}
}

// noIPv6 is a setting of a namespace: what is made there after it has no IPv6.
const noIPv6 = "net/ipv6/conf/default/disable_ipv6"

// makeDevice makes what becomes the port of a guest, and returns its index.
func (k *known) makeDevice(host *netlinux.Host, g netplan.Guest, card *nic) (index int, err error) {
	if g.Inside == nil {
		return host.AddTAP(g.TAP, card.owner)
	}
	err = within(card.namespace, func(inner *netlinux.Host) error {
		index, err = k.wire(host, inner, g, card)
		return err
	})
	return index, err
}

// wire makes all that is in a clone's namespace, and the wire to it; it returns the index
// of the wire's end here. Nothing goes through it yet: this end is off. What is in
// the namespace is in no record, and goes with it.
func (k *known) wire(host, inner *netlinux.Host, g netplan.Guest, card *nic) (index int, err error) {
	if err := inner.SetSysctl(noIPv6, "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if _, err := inner.AddTAP(g.Inside.TAP, card.owner); err != nil {
		return 0, err
	}
	fault.Point("attach: TAP made in namespace")
	if index, err = host.AddWire(g.TAP, g.WireEnd(), card.namespace, k.mark); err != nil {
		return 0, err
	}
	fault.Point("attach: wire made")
	if err := inner.Make(netplan.Translation(g, k.Config.Gateway(), netplan.BridgeAddr(k.mark))); err != nil {
		return index, err
	}
	return index, errors.Join(inner.SwitchOn(g.Inside.TAP), inner.SwitchOn(g.WireEnd()))
}

// within calls f on a thread in a namespace, with the way to its kernel.
func within(ns *os.File, f func(*netlinux.Host) error) error {
	return proc.OnThread(func() error {
		if err := proc.EnterNamespace(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return failed(errcode.NetworkFailed, "enter", "network namespace", err)
		}
		host, err := netlinux.Open()
		if err != nil {
			return err
		}
		return errors.Join(f(host), host.Close())
	})
}
