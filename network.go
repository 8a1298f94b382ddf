package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/vmconfig"
)

// Network returns the network of this manager's VMs. Nothing of it is on the host
// before the first VM, or the first call of its methods, needs it.
func (m *Manager) Network() *hostnet.Network { return m.network }

// TAPs returns the TAP devices that were made for the VM, in the order of its
// interfaces.
func (v *VM) TAPs() []hostnet.TAP {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.taps)
}

// guestMTU is the release since which a guest can be told its MTU.
var guestMTU = firecracker.Version{Major: 1, Minor: 16}

// attachNetwork makes a TAP for each interface that names none, with all its
// rules in place before it is up.
func (l *launch) attachNetwork(ctx context.Context) error {
	v, config := l.vm, l.plan.config
	made := config.MadeInterfaces()
	if len(made) == 0 {
		return nil
	}
	settings := config.Network
	if settings == nil {
		settings = &vmconfig.Network{}
	}
	network := v.manager.network
	if err := network.Hold(ctx); err != nil {
		return err
	}
	taps := make([]hostnet.TAP, 0, len(made))
	for _, i := range made {
		nic := &config.NetworkInterfaces[i]
		request := hostnet.Request{VM: v.ID(), Iface: nic.IfaceID, MAC: nic.GuestMAC, Egress: settings.Egress}
		if i == made[0] {
			request.Forwards = settings.Forwards
		}
		tap, err := network.Attach(ctx, l.ledger, v.Dir(), request)
		if err != nil {
			return err
		}
		taps = append(taps, *tap)
		nic.HostDevName, nic.GuestMAC = tap.Name, tap.MAC
		if nic.MTU == 0 && l.binary.Version.Compare(guestMTU) >= 0 {
			nic.MTU = tap.MTU
		}
	}
	if settings.IPArgument {
		addIPArgument(&config.BootSource, taps[0].IPArgument(fmt.Sprintf("eth%d", made[0])))
	}
	v.mu.Lock()
	v.taps = taps
	v.mu.Unlock()
	return nil
}

// addIPArgument leaves alone what says ip= already. Without arguments Firecracker
// has defaults, of which those that end it with its guest have to be repeated.
func addIPArgument(boot *firecracker.BootSource, argument string) {
	switch {
	case strings.Contains(" "+boot.BootArgs, " ip="):
		return
	case boot.BootArgs == "":
		boot.BootArgs = "reboot=k panic=1"
	}
	boot.BootArgs += " " + argument
}

// checkInterfaces demands that the TAPs that the config names exist: Firecracker,
// if it may, makes a device of a mistyped name, and the guest then has a network
// that leads nowhere.
func (p *plan) checkInterfaces() []errcode.Detail {
	var faults []errcode.Detail
	for i, n := range p.config.NetworkInterfaces {
		if n.HostDevName == "" {
			continue
		}
		if err := checkTAP(n.HostDevName); err != nil {
			faults = append(faults, errcode.Detail{Field: fmt.Sprintf("network-interfaces[%d].host_dev_name", i), Message: err.Error()})
		}
	}
	return faults
}

func checkTAP(name string) error {
	host, err := netlinux.Open()
	if err != nil {
		return err
	}
	link, err := host.Link(name)
	err = errors.Join(err, host.Close())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no TAP device %s; make it with: ip tuntap add %[1]s mode tap, or leave it out and smartvm makes one", name)
	case err != nil:
		return err
	case link.Kind != "tun":
		return fmt.Errorf("%s is no TAP device but a %s", name, link.Kind)
	}
	return nil
}
