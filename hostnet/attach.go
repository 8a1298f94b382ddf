package hostnet

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// Recorder writes down what is made before it is made, together with what gives it
// back. The ledger of a VM is one.
type Recorder interface {
	Make(r ledger.Resource, effect func() error) error
}

// Request is an interface that is to be on the network.
type Request struct {
	VM, Iface string
	// MAC is the guest's on the bridge. Default: one that is derived from VM and Iface.
	MAC string
	// Owner is the user whose Firecracker opens the TAP. Default: whoever may
	// administer the network.
	Owner int
	// Egress narrows what the guest may reach. Nil: what the network allows.
	Egress *netconfig.Policy
	// Forwards lead ports of the host to the guest.
	Forwards []netconfig.Forward
	// Inside is set for the interface of a clone of another guest. All else is about the
	// clone as the network sees it. Default: it is none.
	Inside *Inside
}

func (r *Request) validate() error {
	return errors.Join(r.Egress.Validate(), netconfig.ValidateForwards(r.Forwards))
}

// Kinds are the resources that a recorder has to know to release them.
func Kinds() ledger.Kinds {
	return ledger.Kinds{
		"nic":  func() ledger.Resource { return &nic{} },
		"hold": func() ledger.Resource { return &hold{} },
	}
}

// Attach makes a TAP for an interface and puts it on the network, which is made if it
// is not there. All rules for it are in place before it is up. The TAP of a clone is in
// the clone's namespace, and goes with that. What else is made is recorded first; dir
// is the directory of the recorder's ledger. When Attach fails, releasing what is
// recorded removes what was made.
//
// Errors: IP_EXHAUSTED, PORT_IN_USE, TAP_CREATE_FAILED, NOT_PERMITTED, INVALID_CONFIG
// and INVALID_FIREWALL_CONFIG about the request, and all of making or joining the
// network: INVALID_SUBNET, BRIDGE_SETUP_FAILED, WIREGUARD_SETUP_FAILED.
func (n *Network) Attach(ctx context.Context, rec Recorder, dir string, r Request) (*TAP, error) {
	tap, err := n.attach(ctx, rec, dir, r)
	if err != nil {
		return nil, failed(errcode.TapCreateFailed, "attach interface", r.VM+" "+r.Iface, err)
	}
	return tap, nil
}

func (n *Network) attach(ctx context.Context, rec Recorder, dir string, r Request) (*TAP, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	host, giveBack, err := n.kernel()
	if err != nil {
		return nil, err
	}
	defer giveBack()
	held, k, err := n.enter(ctx, host)
	if err != nil {
		return nil, err
	}
	defer held.unlock()
	l, err := n.choose(ctx, host, k, r)
	if err != nil {
		return nil, err
	}
	l.Ledger = dir
	card := &nic{
		through: through{n.way},
		Runtime: n.place.runtime, Bridge: n.place.bridge, TAP: l.TAP, Mark: k.mark, Addr: l.Addr, Ledger: dir,
		owner: r.Owner,
	}
	if r.Inside != nil {
		card.Clone, card.namespace = true, r.Inside.Namespace
	}
	err = rec.Make(card, func() error { return n.plug(ctx, host, held, k, l, card) })
	if err != nil {
		return nil, err
	}
	return k.tap(l.Guest), nil
}

// enter takes the lock of the records and returns the network, which it makes if it
// is not there.
func (n *Network) enter(ctx context.Context, host *netlinux.Host) (*lock, *known, error) {
	held, err := n.place.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	k, err := n.lookUp(host)
	if err == nil {
		return held, k, nil
	}
	held.unlock()
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if held, err = n.place.lockAll(ctx, host); err != nil {
		return nil, nil, err
	}
	if k, err = n.lookUp(host); errors.Is(err, fs.ErrNotExist) { // nobody was faster
		k, err = n.ensure(ctx, host)
	}
	if err == nil {
		err = held.keepRecords()
	}
	if err != nil {
		held.unlock()
		return nil, nil, err
	}
	return held, k, nil
}

// choose finds all that a new lease says. The caller holds the lock of the records
// until the lease is written.
func (n *Network) choose(ctx context.Context, host *netlinux.Host, k *known, r Request) (*lease, error) {
	l := &lease{Guest: netplan.Guest{VM: r.VM, Iface: r.Iface, Egress: r.Egress.WithDefaults()}}
	for _, f := range r.Forwards {
		l.Forwards = append(l.Forwards, f.WithDefaults())
	}
	if err := n.place.checkPorts(ctx, l.Forwards); err != nil {
		return nil, err
	}
	at, err := n.chooseAddress(&k.Config)
	if err != nil {
		return nil, err
	}
	l.Addr, l.again = at.Addr, at.Again
	if l.MAC, err = n.place.chooseMAC(k, r); err != nil {
		return nil, err
	}
	if l.Inside, err = r.Inside.parse(k); err != nil {
		return nil, err
	}
	l.TAP, err = n.place.chooseTAP(host, k.owner, r)
	return l, err
}

func (k *known) tap(g netplan.Guest) *TAP {
	t := &TAP{
		Name: g.TAP, MAC: g.MAC.String(), Addr: netip.PrefixFrom(g.Addr, k.Config.Subnet.Bits()), Gateway: k.Config.Gateway(),
		GatewayMAC: netplan.BridgeAddr(k.mark).String(), DNS: k.DNS, MTU: k.MTU, VM: g.VM, Iface: g.Iface, Bridge: k.Config.Bridge,
	}
	if g.Inside != nil {
		t.Name, t.Port = g.Inside.TAP, g.TAP
	}
	return t
}

// lookUp returns what is known about the network if it is up. The error matches
// fs.ErrNotExist when it is not. The caller holds the lock of the records.
func (n *Network) lookUp(host *netlinux.Host) (*known, error) {
	file, err := os.Lstat(n.place.config())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	k := n.known
	n.mu.Unlock()
	if k != nil && unchanged(k.file, file) {
		return k, nil
	}
	there, err := n.place.readAll()
	if err != nil {
		return nil, err
	}
	if there == nil || !there.Complete || !there.here() {
		return nil, fs.ErrNotExist
	}
	if err := there.elsewhere(); err != nil {
		return nil, err
	}
	if _, err := n.join(there); err != nil {
		return nil, err
	}
	owner, err := n.place.owner()
	if err != nil {
		return nil, err
	}
	k = &known{stored: *there, file: file, owner: owner, mark: owner.Mark(n.place.bridge)}
	bridge, err := host.Link(n.place.bridge)
	if err != nil {
		return nil, err
	}
	if bridge.Alias != k.mark {
		return nil, fs.ErrNotExist // ensure says whose it is
	}
	k.bridge = bridge.Index
	n.remember(k)
	return k, nil
}

func (n *Network) remember(k *known) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = k
}

// plug makes what a lease is about: first its file, then, while others choose their
// own, the TAP and its rules. If a part of the network is missing, since somebody has
// removed it, all of it is repaired once.
func (n *Network) plug(ctx context.Context, host *netlinux.Host, held *lock, k *known, l *lease, card *nic) (err error) {
	if err := n.place.writeLease(l); err != nil {
		return err
	}
	if err := n.give(cursor{l.Addr, l.again}); err != nil {
		return err
	}
	fault.Point("attach: leased")
	if err := held.shareRules(ctx); err != nil {
		return err
	}
	if card.Index, err = k.makeDevice(host, l.Guest, card); err != nil {
		card.foreign = errors.Is(err, fs.ErrExist)
		return err
	}
	fault.Point("attach: TAP made")
	if l.again {
		if err := host.ForgetFlows(netip.PrefixFrom(l.Addr, l.Addr.BitLen())); err != nil {
			return err
		}
	}
	err = n.connect(host, k, l.Guest, card.Index)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	held.unlock()
	return n.place.locked(ctx, host, func() error {
		repaired, err := n.ensure(ctx, host) // with the rules of this guest, since it has a lease
		if err != nil {
			return err
		}
		return host.AttachTAP(repaired.port(card.Index, l.Guest))
	})
}

// connect makes the rules first, then the TAP a port of the bridge.
func (n *Network) connect(host *netlinux.Host, k *known, g netplan.Guest, index int) error {
	change := netplan.Attach(k.Config, g)
	for _, s := range change.Sysctls {
		if err := host.SetSysctl(s.Path, s.Value); err != nil && (!s.Optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	if err := host.Add(change); err != nil {
		return err
	}
	fault.Point("attach: rules made")
	return host.AttachTAP(k.port(index, g))
}

func (k *known) port(index int, g netplan.Guest) netlinux.Port {
	p := netlinux.Port{Index: index, Bridge: k.bridge, MTU: k.MTU, Mark: k.mark, Isolated: !k.Config.AllowPeers}
	if g.Inside != nil {
		p.Wire, p.MTU = true, netlinux.WireMTU
	}
	return p
}
