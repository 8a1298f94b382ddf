package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

const orphaned = "it has the mark of this runtime directory and is in no record"

// kernel collects what carries the mark of the runtime directory and is in none of
// its records: somebody has removed files there, or has killed a process in another
// network namespace.
//
// A runtime directory that never had a network has marked nothing: to find that out
// needs no capability.
func (c *collector) kernel(ctx context.Context) error {
	base := placeOf(c.runtime, "")
	owner, err := base.peekOwner()
	if err != nil || owner.ID == unknownOwner {
		return err
	}
	return base.locked(ctx, c.host, func() error {
		o := &orphans{collector: c, prefix: "smartvm " + owner.ID + " ", known: map[string]map[string]bool{}, marks: map[string]string{}}
		return errors.Join(o.links(ctx), o.tables(), o.rest(ctx))
	})
}

type orphans struct {
	*collector

	prefix string
	known  map[string]map[string]bool // names of the links of a network, nil if it is not there
	marks  map[string]string          // of networks that are not there, by their bridge
	wasOff bool                       // a table of theirs says that forwarding was off before
}

func (o *orphans) links(ctx context.Context) error {
	all, err := o.host.Links()
	if err != nil {
		return err
	}
	for _, l := range all {
		bridge, ours := o.bridgeOf(l.Alias)
		if !ours {
			continue
		}
		names, err := o.linksOf(bridge)
		if err != nil {
			return err
		}
		if !names[l.Name] {
			o.collect(Garbage{bridge, orphaned, []string{"link " + l.Name}}, func() error { return o.host.DeleteLink(ctx, l.Name, l.Index, l.Alias) })
		}
		if names == nil {
			o.marks[bridge] = l.Alias
		}
	}
	return nil
}

// bridgeOf returns the network that a mark names, if it is one of this runtime directory.
func (o *orphans) bridgeOf(mark string) (bridge string, ours bool) {
	rest, ours := strings.CutPrefix(mark, o.prefix)
	bridge, _, _ = strings.Cut(rest, " ")
	return bridge, ours && (&netconfig.Config{Bridge: bridge}).Validate() == nil
}

// linksOf returns the names of the links that the records of a network have, nil if
// there is no such network.
func (o *orphans) linksOf(bridge string) (map[string]bool, error) {
	if names, looked := o.known[bridge]; looked {
		return names, nil
	}
	p := placeOf(o.runtime, bridge)
	there, err := p.read()
	if err != nil {
		return nil, err
	}
	if there == nil {
		if _, err := os.Lstat(p.dir()); errors.Is(err, fs.ErrNotExist) {
			o.known[bridge] = nil
			return nil, nil //nolint:nilnil // there is none, which is no error
		}
		there = &stored{} // half made, which its ledger knows more about
	}
	names := map[string]bool{bridge: true, wireGuardName(&there.Config): true}
	leases, err := p.readLeases()
	if err != nil {
		return nil, err
	}
	for i := range leases {
		names[leases[i].TAP] = true
	}
	o.known[bridge] = names
	return names, nil
}

func (o *orphans) tables() error {
	all, err := o.host.Tables()
	if err != nil {
		return err
	}
	for _, t := range all {
		mark, wasOff := strings.CutSuffix(t.Comment, netplan.ForwardingWasOff)
		bridge, ours := o.bridgeOf(mark)
		if !ours {
			continue
		}
		names, err := o.linksOf(bridge)
		if err != nil {
			return err
		}
		if names == nil {
			o.marks[bridge] = mark
			o.wasOff = o.wasOff || wasOff
			o.collect(Garbage{bridge, orphaned, []string{fmt.Sprintf("nftables table %s %s", t.Family, t.Name)}},
				func() error { return o.host.RemoveTables(t.Name, mark) })
		}
	}
	return nil
}

// rest removes what has no list of its own, of networks that have left something.
func (o *orphans) rest(ctx context.Context) error {
	if o.dry || len(o.marks) == 0 {
		return nil
	}
	barriers, err := o.host.Barriers(ctx)
	errs := []error{err}
	for bridge, mark := range o.marks {
		for _, b := range barriers {
			errs = append(errs, o.host.RemoveAccept(b, mark))
		}
		errs = append(errs, removeRules(o.host, bridge))
	}
	if o.wasOff {
		errs = append(errs, newSysctl(forwardingPath, "0", "1").Release(ctx))
	}
	return errors.Join(errs...)
}

// removeRules removes the routing rules of a bridge that is gone: they would block
// the guests of the next one of that name.
func removeRules(host *netlinux.Host, bridge string) error {
	var errs []error
	for _, r := range []netplan.RoutingRule{
		{Priority: netplan.PriorityReply, InIface: bridge, Mark: netplan.MarkReply, Table: unix.RT_TABLE_MAIN},
		{Priority: netplan.PriorityTunnel, InIface: bridge, Table: netconfig.DefaultRouteTable},
		{Priority: netplan.PriorityBlocked, InIface: bridge, Unreachable: true},
	} {
		errs = append(errs, host.DeleteRule(r))
	}
	return errors.Join(errs...)
}
