package hostnet

import (
	"context"
	"net/netip"

	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// For tests in the other package.

// TAPName is the name of a TAP, and HardwareAddr the address of its guest.
func TAPName(owner, bridge, vm, iface string, attempt int) string {
	return tapName(netplan.Owner{ID: owner}, bridge, vm, iface, attempt)
}

func HardwareAddr(vm, iface string, attempt int) string {
	return hardwareAddr(vm, iface, attempt).String()
}

// Lay makes the directory of a network as if it were up, with a lease for each
// address. The VM of a lease has the same name as the address.
func Lay(runtime string, c netconfig.Config, addrs ...string) error {
	p := placeOf(runtime, c.Bridge)
	if err := p.make(); err != nil {
		return err
	}
	if err := makeDirs(p.dir()); err != nil {
		return err
	}
	if err := p.fill(); err != nil {
		return err
	}
	if err := p.write(stored{Instance: "test", Config: *c.WithDefaults(), TunnelKey: tunnelKey(c.WireGuard), MTU: 1500, Complete: true}); err != nil {
		return err
	}
	for _, a := range addrs {
		l := &lease{Ledger: runtime + "/" + a, Guest: netplan.Guest{
			TAP: "svt" + a, MAC: hardwareAddr(a, "eth0", 0), Addr: netip.MustParseAddr(a), VM: a, Iface: "eth0",
		}}
		if err := p.writeLease(l); err != nil {
			return err
		}
	}
	return nil
}

// Next returns the address that the next guest would get, and gives it.
func (n *Network) Next() (netip.Addr, error) {
	there, err := n.place.read()
	if err != nil {
		return netip.Addr{}, err
	}
	at, err := n.chooseAddress(&there.Config)
	if err != nil {
		return netip.Addr{}, err
	}
	return at.Addr, n.give(at)
}

// Join returns what the network is for this value.
func (n *Network) Join() (*netconfig.Config, error) {
	there, err := n.place.readAll()
	if err != nil {
		return nil, err
	}
	return n.join(there)
}

// ReadLeases returns the VMs of a network.
func ReadLeases(runtime, bridge string) (vms []string, err error) {
	leases, err := placeOf(runtime, bridge).readLeases()
	for i := range leases {
		vms = append(vms, leases[i].VM)
	}
	return vms, err
}

// Survey returns the leases and users that are in no ledger, and whether there are
// others. Gone are ledgers that do not count.
func Survey(ctx context.Context, runtime, bridge string, gone ...string) (leases, users []string, used bool, err error) {
	c := &collector{runtime: runtime, gone: map[string]bool{}}
	for _, dir := range gone {
		c.gone[dir] = true
	}
	w, err := c.survey(ctx, placeOf(runtime, bridge))
	if err != nil {
		return nil, nil, false, err
	}
	for i := range w.leases {
		leases = append(leases, w.leases[i].VM)
	}
	return leases, w.users, w.used, nil
}

// NIC is the record of an interface of Lay.
func NIC(runtime, bridge, addr string) *nic {
	return &nic{Runtime: runtime, Bridge: bridge, TAP: "svt" + addr, Addr: netip.MustParseAddr(addr), Ledger: runtime + "/" + addr}
}

// HoldOf makes the file of a user, and returns its record.
func HoldOf(runtime, bridge, user string) (*hold, error) {
	h := &hold{Runtime: runtime, Bridge: bridge, User: user}
	return h, writeFile(h.path(), nil)
}

// Lock is the locks of a runtime directory.
type Lock struct{ *lock }

// TakeRecords takes the lock of the records.
func TakeRecords(ctx context.Context, runtime string) (Lock, error) {
	l, err := placeOf(runtime, "").lock(ctx)
	return Lock{l}, err
}

// ShareRules changes it for the shared one of the rules.
func (l Lock) ShareRules(ctx context.Context) error { return l.shareRules(ctx) }

// OwnRules takes the exclusive one of the rules as well.
func (l Lock) OwnRules(ctx context.Context) error { return l.wait(ctx, rules, filelock.Exclusive) }

// Unlock gives all of them back.
func (l Lock) Unlock() { l.unlock() }
