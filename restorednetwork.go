package smartvm

import (
	"errors"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/snapshot"
)

// inside says how the guest of a snapshot knows itself and its gateway: it goes on with
// the addresses that it had, in a network namespace of its own, whoever else has them as
// well. Nil for a guest that boots, which is told what its addresses are.
func (l *launch) inside(nic *firecracker.NetworkInterface) (*hostnet.Inside, error) {
	if l.restore == nil {
		return nil, nil //nolint:nilnil // see above
	}
	stored, err := l.restore.storedInterface(nic.IfaceID)
	if err != nil {
		return nil, err
	}
	in := &hostnet.Inside{Namespace: l.netns, TAP: l.insideTAP(stored), MAC: stored.GuestMAC, GatewayMAC: stored.GatewayMAC}
	prefix, err := netip.ParsePrefix(stored.GuestAddress)
	gateway, gatewayErr := netip.ParseAddr(stored.Gateway)
	if err := errors.Join(err, gatewayErr); err != nil {
		return nil, &Error{Code: errcode.InvalidSnapshot, Op: "read snapshot", Subject: l.restore.manifest.Name, Err: err}
	}
	in.Addr, in.Gateway = prefix.Addr(), gateway
	l.vm.mu.Lock()
	l.vm.restored = append(l.vm.restored, *stored)
	l.vm.mu.Unlock()
	return in, nil
}

// overridesTAPs is the release since which a load can name other TAPs than its snapshot.
var overridesTAPs = firecracker.Version{Major: 1, Minor: 12}

// overrides tells Firecracker the TAPs of a guest's own namespace, which are named as those
// of the spare one. Nil where it will look for the names in the snapshot.
func (l *launch) overrides() (overrides []firecracker.NetworkOverride) {
	if l.binary.Version.Compare(overridesTAPs) < 0 {
		return nil
	}
	given := l.vm.config // that of the plan changes meanwhile
	for n, i := range given.MadeInterfaces() {
		overrides = append(overrides, firecracker.NetworkOverride{IfaceID: given.NetworkInterfaces[i].IfaceID, HostDevName: spareTAP(n)})
	}
	return overrides
}

// insideTAP is the TAP that Firecracker will look for.
func (l *launch) insideTAP(stored *snapshot.Interface) string {
	for _, o := range l.overrides() {
		if o.IfaceID == stored.ID {
			return o.HostDevName
		}
	}
	return stored.HostDevice
}

// ownNetwork makes the network namespace of a guest that keeps the addresses that it has.
func (l *launch) ownNetwork() (err error) {
	if l.restore == nil || l.netns != nil || len(l.plan.config.MadeInterfaces()) == 0 {
		return nil
	}
	l.netns, err = l.vm.manager.spare.take()
	return err
}

func (r *restore) storedInterface(id string) (*snapshot.Interface, error) {
	for i := range r.manifest.Interfaces {
		if n := &r.manifest.Interfaces[i]; n.ID == id && n.Made {
			return n, nil
		}
	}
	return nil, &Error{
		Code: errcode.InvalidSnapshot, Op: "read snapshot", Subject: r.manifest.Name, Err: errors.New("it does not say which addresses the interface " + id + " has"),
	}
}
