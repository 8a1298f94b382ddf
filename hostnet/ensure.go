package hostnet

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// known is what has to be known about a network that is up to put guests on it. It
// does not change once it is made.
type known struct {
	stored

	file   os.FileInfo // that it was read of
	mark   string
	owner  netplan.Owner
	bridge int // index
}

// ensure makes the network what it is planned to be, whatever of it is there. A new
// one that could not be completed is removed again. The caller holds all locks.
func (n *Network) ensure(ctx context.Context, host *netlinux.Host) (*known, error) {
	k, err := n.makeAll(ctx, host)
	if err != nil {
		return nil, failed(errcode.BridgeSetupFailed, "set up network", n.place.bridge, err)
	}
	n.remember(k)
	return k, nil
}

func (n *Network) makeAll(ctx context.Context, host *netlinux.Host) (*known, error) {
	if err := n.place.clear(ctx, host); err != nil {
		return nil, err
	}
	m, err := n.newMaker(ctx, host)
	if err != nil {
		return nil, err
	}
	complete := m.known.Complete
	err = m.all(ctx)
	if err == nil {
		return m.known, m.ledger.Close()
	}
	if m.ledger == nil {
		return nil, err
	}
	if complete {
		return nil, errors.Join(err, m.ledger.Close())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	share(m.ledger, host)
	return nil, errors.Join(err, giveBack(ctx, m.ledger))
}

// all is the order in which things are made.
func (m *maker) all(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		m.openLedger, m.checkForeign, m.makeFlows, m.planForwarding, m.makeBridge, m.makeTunnel, m.makeSettings, m.makeRouting,
		m.makeTables, m.makeForwarding, m.makeAccepts, m.makePorts,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		fault.Point("network: step done")
	}
	m.known.Complete = true
	return m.store()
}

// maker makes one network.
type maker struct {
	place  place
	host   *netlinux.Host
	config *netconfig.Config
	plan   *netplan.Plan
	known  *known
	guests *guests
	ledger *ledger.Ledger
	log    *slog.Logger
}

// newMaker finds out all that can be wrong before anything is made.
func (n *Network) newMaker(ctx context.Context, host *netlinux.Host) (*maker, error) {
	there, err := n.place.readAll()
	if err != nil {
		return nil, err
	}
	config, err := n.join(there)
	if err != nil {
		return nil, err
	}
	k := &known{}
	if k.owner, err = n.place.owner(); err != nil {
		return nil, err
	}
	if there == nil {
		if err := n.place.checkOthers(config); err != nil {
			return nil, err
		}
		there = &stored{Instance: rand.Text()}
	}
	k.stored, k.mark = *there, k.owner.Mark(config.Bridge)
	plan, err := makePlan(ctx, host, config, &k.stored, k.owner)
	if err != nil {
		return nil, err
	}
	for _, warning := range plan.Warnings {
		n.log.Warn("a network may not do all that is asked of it", slog.String("network", config.Bridge), slog.String("why", warning))
	}
	if !k.here() { // what was before the host's last start does not count
		k.TurnedForwardingOn = false
	}
	k.Boot, k.Config, k.MTU = proc.BootID(), *config, plan.Bridge.MTU
	if k.Namespace, err = namespace(); err != nil {
		return nil, err
	}
	if !k.Complete {
		k.DNS = plan.DNS
	}
	if key := tunnelKey(config.WireGuard); key != "" {
		k.TunnelKey = key
	}
	guests, err := n.place.guests(host, k.mark)
	return &maker{place: n.place, host: host, config: config, plan: plan, known: k, guests: guests, log: n.log}, err
}

func (m *maker) openLedger(ctx context.Context) error {
	led, err := m.place.openLedger(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		led, err = ledger.Create(m.place.networks(), m.place.bridge)
	}
	if err != nil {
		return err
	}
	m.ledger = led
	if err := m.place.fill(); err != nil {
		return err
	}
	return m.store()
}

func (m *maker) store() (err error) {
	if err := m.place.write(m.known.stored); err != nil {
		return err
	}
	m.known.file, err = os.Lstat(m.place.config())
	return err
}

// record makes something that is written down first. What is recorded already, since
// it was made before and somebody has removed it, is not recorded again.
func (m *maker) record(r ledger.Resource, effect func() error) error {
	if m.recorded(r) {
		return effect()
	}
	return m.ledger.Make(r, effect)
}

// makeFlows comes first, so that the connections are forgotten when all else is gone.
func (m *maker) makeFlows(context.Context) error {
	return m.record(&flows{Subnet: m.config.Subnet}, func() error { return nil })
}

// planForwarding finds out whether the network has to switch IP forwarding off in the
// end: it was off before this one, or before another one that may go first. The
// comment of the tables says so from then on.
func (m *maker) planForwarding(context.Context) error {
	current, err := m.host.Sysctl(forwardingPath)
	if err != nil {
		return err
	}
	duty, err := forwardingDuty(m.host, m.known.mark)
	if err != nil {
		return err
	}
	m.known.TurnedForwardingOn = m.known.TurnedForwardingOn || duty || current == "0"
	m.plan.TurnedForwardingOn = m.known.TurnedForwardingOn
	return m.store()
}

// makeForwarding comes after the tables: whoever finds forwarding on then finds as
// well who has the duty to switch it off, even if that one is killed here.
func (m *maker) makeForwarding(context.Context) error {
	s := newSysctl(forwardingPath, "0", "1")
	s.Mark = m.known.mark
	set := func() error { return m.host.SetSysctl(s.Path, s.New) }
	if m.known.TurnedForwardingOn {
		return m.record(s, set)
	}
	if current, err := m.host.Sysctl(s.Path); err != nil || current == s.New {
		return err
	}
	return set() // somebody has switched it off meanwhile
}

func (m *maker) makeBridge(context.Context) error {
	b := m.plan.Bridge
	there, err := m.host.Link(b.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m.record(&link{Name: b.Name, Mark: m.known.mark, What: "bridge"}, func() (err error) {
			m.known.bridge, err = m.host.AddBridge(b, m.known.mark)
			return err
		})
	case err != nil:
		return err
	case there.Alias != m.known.mark:
		return &errcode.Error{
			Code: errcode.BridgeSetupFailed, Op: "make bridge", Subject: b.Name, Err: whose(there),
			Hint: "choose another name for the bridge, and another subnet",
		}
	}
	m.known.bridge = there.Index
	return m.record(&link{Name: b.Name, Mark: m.known.mark, What: "bridge"}, func() error { return m.host.SetBridge(there.Index, b) })
}

// makeTunnel makes the WireGuard interface if it is ours to make. One that somebody
// has deleted can be made again only by who has its key: until then nothing leaves.
func (m *maker) makeTunnel(ctx context.Context) error {
	w := m.plan.WireGuard
	if w == nil {
		return nil
	}
	there, err := m.host.Link(w.Name)
	switch {
	case w.Tunnel == nil && errors.Is(err, fs.ErrNotExist) && !m.known.Complete: // a name that is mistyped, most likely
		return &errcode.Error{
			Code: errcode.WireGuardSetupFailed, Op: "use tunnel", Subject: w.Name, Err: errors.New("there is no interface of that name"),
			Hint: "bring it up first, or let smartvm make a tunnel of a wg-quick file",
		}
	case w.Tunnel == nil: // somebody else's
		return nil
	case err == nil && there.Alias == m.known.mark:
		return nil
	case err == nil:
		return &errcode.Error{
			Code: errcode.WireGuardSetupFailed, Op: "make tunnel", Subject: w.Name, Err: whose(there),
			Hint: "choose another name for the interface",
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case w.Tunnel.PrivateKey.IsZero():
		m.log.Warn("the tunnel of a network is gone, and its key is not known here: guests' traffic stays blocked",
			slog.String("network", m.place.bridge), slog.String("interface", w.Name))
		return nil
	}
	if err := m.noteRedirects(); err != nil {
		return err
	}
	return m.record(&link{Name: w.Name, Mark: m.known.mark, What: "wireguard"}, func() error {
		_, err := m.host.AddWireGuard(ctx, *w, m.known.mark)
		return err
	})
}

// makeSettings sets what belongs to links of the network, and what is the host's and
// is put back.
func (m *maker) makeSettings(context.Context) error {
	m.plan = m.plan.With(m.guests.list)
	for _, s := range m.plan.Sysctls {
		if s.Path == forwardingPath {
			continue
		}
		if err := m.set(s); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) set(s netplan.Sysctl) error {
	current, err := m.host.Sysctl(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && (s.Optional || s.Host): // of an interface that is not there
		return nil
	case err != nil:
		return err
	case current == s.Value:
		return nil
	case s.Host:
		return m.record(newSysctl(s.Path, current, s.Value), func() error { return m.host.SetSysctl(s.Path, s.Value) })
	}
	return m.host.SetSysctl(s.Path, s.Value)
}

// makeRouting blocks before it opens: the rules come last to first. Routes through an
// interface that is not there can't be made, and need not be.
func (m *maker) makeRouting(context.Context) error {
	for _, r := range slices.Backward(m.plan.Rules) {
		if err := m.record(&routingRule{RoutingRule: r}, func() error { return m.host.AddRule(r) }); err != nil {
			return err
		}
	}
	for _, r := range m.plan.Routes {
		if _, err := m.host.Link(r.Iface); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := m.record(&route{Route: r}, func() error { return m.host.AddRoute(r) }); err != nil {
			return err
		}
	}
	return nil
}

// makeTables replaces the tables, unless they are what they are to be: counters start
// anew when they are replaced. Where one was gone, connections have begun that the kernel
// will never translate, so it is made to forget them.
func (m *maker) makeTables(context.Context) error {
	right, gone, err := m.lookAtTables()
	if err != nil {
		return err
	}
	return m.record(&tables{Name: netplan.TableName(m.place.bridge), Mark: m.known.mark}, func() error {
		if right {
			return nil
		}
		if err := m.host.Replace(m.plan.Tables); err != nil || !gone || !m.known.Complete {
			return err
		}
		return m.host.ForgetFlows(m.config.Subnet)
	})
}

// lookAtTables reports whether the tables are right, and whether one is not there at all.
func (m *maker) lookAtTables() (right, gone bool, err error) {
	all, err := m.host.Tables()
	if err != nil {
		return false, false, err
	}
	right = true
	for _, t := range m.plan.Tables {
		i := slices.IndexFunc(all, func(o netlinux.TableInfo) bool { return o.Family == t.Family && o.Name == t.Name })
		gone = gone || i < 0
		right = right && i >= 0 && all[i].Comment == t.Comment
	}
	if !right {
		return false, gone, nil
	}
	missing, err := m.host.Missing(m.plan.Tables)
	return len(missing) == 0, false, err
}

func (m *maker) makeAccepts(context.Context) error {
	for _, a := range m.plan.Accepts {
		if err := m.record(&accept{Barrier: a.Barrier, Mark: m.known.mark}, func() error { return m.host.AddAccept(a, m.known.mark) }); err != nil {
			return err
		}
	}
	return nil
}

// makePorts gives a bridge that was made anew its ports.
func (m *maker) makePorts(context.Context) error {
	var errs []error
	for i, l := range m.guests.links {
		if l.Alias == m.known.mark && (l.Master != m.known.bridge || !l.Up) {
			errs = append(errs, m.host.AttachTAP(m.known.port(l.Index, m.guests.list[i])))
		}
	}
	return errors.Join(errs...)
}
