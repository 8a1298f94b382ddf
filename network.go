package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/proc"
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
	if err := l.lendTAPs(); err != nil {
		return err
	}
	v, config := l.vm, l.plan.config
	made := config.MadeInterfaces()
	if len(made) == 0 {
		return nil
	}
	settings := config.Network
	if settings == nil {
		settings = &vmconfig.Network{}
	}
	source, err := l.sourceOfTAPs(ctx, settings)
	if err != nil {
		return err
	}
	taps := make([]hostnet.TAP, 0, len(made))
	for _, i := range made {
		nic := &config.NetworkInterfaces[i]
		request := hostnet.Request{VM: v.ID(), Iface: nic.IfaceID, MAC: nic.GuestMAC, Owner: l.tapOwner(), Egress: settings.Egress}
		if i == made[0] {
			request.Forwards = settings.Forwards
		}
		tap, err := l.attach(ctx, source, request, nic)
		if err != nil {
			return err
		}
		taps = append(taps, *tap)
		if nic.MTU == 0 && l.binary.Version.Compare(guestMTU) >= 0 {
			nic.MTU = tap.MTU
		}
	}
	if settings.IPArgument && l.restore == nil {
		addIPArgument(&config.BootSource, taps[0].IPArgument(fmt.Sprintf("eth%d", made[0])))
	}
	v.mu.Lock()
	v.taps = taps
	v.mu.Unlock()
	return nil
}

// tapOwner is the user who opens the TAPs that are made: 0 without a jail, see
// [hostnet.Request].
func (l *launch) tapOwner() int {
	if j := l.plan.files.Jail; j != nil {
		return j.UID
	}
	return 0
}

// attach makes the TAP of an interface.
func (l *launch) attach(
	ctx context.Context, source func(context.Context, hostnet.Request) (*hostnet.TAP, error), r hostnet.Request, nic *firecracker.NetworkInterface,
) (*hostnet.TAP, error) {
	var err error
	if r.Inside, err = l.inside(nic); err != nil {
		return nil, err
	}
	if r.Inside != nil {
		r.MAC = "" // which is the guest's, but not on the bridge
	}
	tap, err := source(ctx, r)
	if err != nil {
		return nil, err
	}
	nic.HostDevName = tap.Name
	if r.Inside == nil {
		nic.GuestMAC = tap.MAC
	}
	return tap, nil
}

// sourceOfTAPs returns what makes TAPs on the manager's network or, for a user who
// may make none, what takes them from his pool.
func (l *launch) sourceOfTAPs(ctx context.Context, settings *vmconfig.Network) (func(context.Context, hostnet.Request) (*hostnet.TAP, error), error) {
	pooled, err := usesPool()
	if err != nil {
		return nil, err
	}
	if pooled && l.restore != nil {
		return nil, &Error{
			Code: errcode.NotPermitted, Op: "attach interface", Subject: l.vm.ID(), Err: errors.New("a guest of a snapshot keeps its addresses, which takes a network namespace, and only root makes one"),
			Hint: "restore it as root, or a snapshot of a VM without interfaces",
		}
	}
	if pooled {
		return l.pooledTAPs(settings)
	}
	network := l.vm.manager.network
	attach := func(ctx context.Context, r hostnet.Request) (*hostnet.TAP, error) {
		return network.Attach(ctx, l.ledger, l.vm.Dir(), r)
	}
	return attach, network.Hold(ctx)
}

// lendTAPs lets the jail's user open the TAPs of the caller that the VM is to use.
func (l *launch) lendTAPs() error {
	j := l.plan.files.Jail
	if j == nil {
		return nil
	}
	for _, n := range l.plan.config.NetworkInterfaces {
		if n.HostDevName == "" {
			continue
		}
		link, err := lookUpTAP(l.plan.netNS(), n.HostDevName)
		if err != nil {
			return err
		}
		if link.Owner == j.UID {
			continue
		}
		lent := &lentTAP{NetNS: l.plan.netNS(), Name: link.Name, Index: link.Index, Owner: link.Owner}
		if err := l.ledger.Make(lent, func() error { return lent.own(j.UID) }); err != nil {
			return err
		}
	}
	return nil
}

// lentTAP is a TAP of the caller's that a jail's user may open.
type lentTAP struct {
	NetNS string `json:"netns,omitempty"` // path; "" for ours
	Name  string `json:"name"`
	Index int    `json:"index"`
	Owner int    `json:"owner"` // who might before, -1 for nobody
}

// Kind implements ledger.Resource.
func (t *lentTAP) Kind() string { return "lent-tap" }

// String implements ledger.Resource.
func (t *lentTAP) String() string { return "owner of tap " + t.Name }

// Release implements ledger.Resource. The kernel has no way back to a TAP without an
// owner; root, who could open it anyway, is as good.
func (t *lentTAP) Release(context.Context) error {
	err := t.own(max(t.Owner, 0))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the TAP, or its namespace
	}
	return err
}

func (t *lentTAP) own(owner int) error {
	return inNetNS(t.NetNS, func(host *netlinux.Host) error {
		return host.OwnTAP(netlinux.Link{Name: t.Name, Index: t.Index}, owner)
	})
}

// inNetNS calls f with a network namespace, given by its path; "" is ours.
func inNetNS(path string, f func(*netlinux.Host) error) error {
	there := func() error {
		host, err := netlinux.Open()
		if err != nil {
			return err
		}
		return errors.Join(f(host), host.Close())
	}
	if path == "" {
		return there()
	}
	return proc.OnThread(func() error {
		if err := proc.EnterNamespace(path, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return there()
	})
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
		if err := checkTAP(p.netNS(), n.HostDevName); err != nil {
			faults = append(faults, errcode.Detail{Field: fmt.Sprintf("network-interfaces[%d].host_dev_name", i), Message: err.Error()})
		}
	}
	return faults
}

// netNS is the network namespace that the VM is given, "" for ours.
func (p *plan) netNS() string {
	if p.config.Jail == nil {
		return ""
	}
	return p.config.Jail.NetNS
}

func lookUpTAP(netNS, name string) (link netlinux.Link, err error) {
	err = inNetNS(netNS, func(host *netlinux.Host) (err error) {
		link, err = host.Link(name)
		return err
	})
	return link, err
}

func checkTAP(netNS, name string) error {
	link, err := lookUpTAP(netNS, name)
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
