package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// Inside is how a guest knows itself that is a clone of another one, with the same
// addresses in its memory: it keeps them, and has addresses of its own on the bridge.
// They are translated in a network namespace that has nothing but the guest's TAPs.
type Inside struct {
	// Namespace is the VM's, for all its interfaces. It is required.
	Namespace *Namespace `json:"-"`
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

// makeDevice makes what becomes the port of a guest, and returns its index.
func (k *known) makeDevice(host *netlinux.Host, g netplan.Guest, card *nic) (index int, err error) {
	if g.Inside == nil {
		return host.AddTAP(g.TAP, card.owner)
	}
	return k.wire(host, g, card)
}

// wire makes all that is in a clone's namespace, and the wire to it; it returns the index
// of the wire's end here. Nothing goes through it yet: this end is off. What is in
// the namespace is in no record, and goes with it.
func (k *known) wire(host *netlinux.Host, g netplan.Guest, card *nic) (index int, err error) {
	inner := card.namespace
	if err := inner.useTAP(g.Inside.TAP, card.owner); err != nil {
		return 0, err
	}
	fault.Point("attach: TAP made in namespace")
	if index, err = host.AddWire(g.TAP, g.WireEnd(), inner.kernel, k.mark); err != nil {
		return 0, err
	}
	fault.Point("attach: wire made")
	if err := inner.kernel.Make(netplan.Translation(g, k.Config.Gateway(), netplan.BridgeAddr(k.mark))); err != nil {
		return index, err
	}
	return index, errors.Join(inner.kernel.SwitchOn(g.Inside.TAP), inner.kernel.SwitchOn(g.WireEnd()))
}
