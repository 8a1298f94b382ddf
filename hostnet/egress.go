package hostnet

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"slices"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// SetEgress replaces what the guests of the network may reach, at once and for all
// of them; nil allows everything that the network itself does not forbid. It decides
// about open connections too. NETWORK_NOT_FOUND means that there is no such network.
func (n *Network) SetEgress(ctx context.Context, policy *netconfig.Policy) error {
	if policy != nil {
		if err := policy.Validate(); err != nil {
			return err
		}
	}
	host, giveBack, err := n.kernel()
	if err != nil {
		return err
	}
	defer giveBack()
	return n.place.locked(ctx, host, func() error {
		there, err := n.place.existing()
		if err != nil {
			return err
		}
		before := there.Config.Egress
		there.Config.Egress = policy.WithDefaults()
		// First what is stored: if this process is killed now, a repair completes it.
		if err := n.place.writeEgress(there.Config.Egress); err != nil {
			return err
		}
		fault.Point("egress: stored")
		was := there.Config.Clone()
		was.Egress = before
		if err := n.exchange(ctx, host, was, there); err != nil {
			return errors.Join(err, n.place.writeEgress(before))
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.config.Egress = there.Config.Egress.Clone()
		return nil
	})
}

// exchange puts the policy that is stored in the place of the one before. If that is not
// what the kernel has, since somebody has changed it or was killed half-way, the tables
// of packets are made anew; those of frames do not depend on the policy.
func (n *Network) exchange(ctx context.Context, host *netlinux.Host, before *netconfig.Config, there *stored) error {
	if !reflect.DeepEqual(before.Egress, there.Config.Egress) { // else there is nothing to exchange
		err := host.Exchange(netplan.Egress(*before), netplan.Egress(there.Config))
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	plan, _, err := n.planOf(ctx, host, there)
	if err != nil {
		return err
	}
	packets := slices.DeleteFunc(plan.Tables, func(t ruleset.Table) bool { return t.Family != ruleset.Inet })
	if missing, err := host.Missing(packets); err != nil || len(missing) == 0 {
		return err
	}
	return host.Replace(packets)
}

// planOf plans a network that is there, with its guests.
func (n *Network) planOf(ctx context.Context, host *netlinux.Host, there *stored) (*netplan.Plan, *guests, error) {
	owner, err := n.place.owner()
	if err != nil {
		return nil, nil, err
	}
	plan, err := makePlan(ctx, host, &there.Config, there, owner)
	if err != nil {
		return nil, nil, err
	}
	guests, err := n.place.guests(host, plan.Mark)
	if err != nil {
		return nil, nil, err
	}
	return plan.With(guests.list), guests, nil
}

// Hits are what a rule has decided about since the rules were made.
type Hits struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// RuleHits is a rule of a policy with its hits.
type RuleHits struct {
	netconfig.Rule
	Hits
}

// PolicyHits is a policy with the hits of its rules. They count packets, not
// connections, in the direction from the guest.
type PolicyHits struct {
	// VM is empty for the policy of the network.
	VM          string           `json:"vm,omitempty"`
	Rules       []RuleHits       `json:"rules"`
	Default     netconfig.Action `json:"default"`
	DefaultHits Hits             `json:"default_hits"`
}

// Egress returns the policy of the network, nil when it has none, and those of single
// VMs, with their hits.
func (n *Network) Egress(ctx context.Context) (policy *PolicyHits, vms []PolicyHits, err error) {
	host, giveBack, err := n.kernel()
	if err != nil {
		return nil, nil, err
	}
	defer giveBack()
	if _, err := n.place.existing(); err != nil {
		return nil, nil, err
	}
	held, err := n.place.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer held.unlock()
	there, err := n.place.existing()
	if err != nil {
		return nil, nil, err
	}
	leases, err := n.place.readLeases()
	if err != nil {
		return nil, nil, err
	}
	counts := counter{host, netplan.TableName(n.place.bridge)}
	if p := there.Config.Egress; p != nil {
		hits, err := counts.of(p, netplan.RuleCounters(p))
		if err != nil {
			return nil, nil, err
		}
		policy = hits
	}
	for i := range leases {
		g := &leases[i].Guest
		if g.Egress == nil {
			continue
		}
		hits, err := counts.of(g.Egress, netplan.GuestRuleCounters(*g))
		if err != nil {
			return nil, nil, err
		}
		hits.VM = g.VM
		vms = append(vms, *hits)
	}
	return policy, vms, nil
}

// counter reads counters of a network's tables.
type counter struct {
	host  *netlinux.Host
	table string
}

func (c counter) of(p *netconfig.Policy, sets []string) (*PolicyHits, error) {
	sums := map[string]Hits{}
	for _, set := range sets {
		counts, err := c.host.SetCounts(ruleset.Inet, c.table, set)
		if err != nil {
			return nil, err
		}
		for comment, n := range counts {
			sum := sums[comment]
			sums[comment] = Hits{sum.Packets + n.Packets, sum.Bytes + n.Bytes}
		}
	}
	out := &PolicyHits{Default: p.WithDefaults().Default, Rules: []RuleHits{}, DefaultHits: sums[netplan.RuleComment(-1)]}
	for i, r := range p.Rules {
		out.Rules = append(out.Rules, RuleHits{r, sums[netplan.RuleComment(i)]})
	}
	return out, nil
}
