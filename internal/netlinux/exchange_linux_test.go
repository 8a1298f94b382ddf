package netlinux_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// Of a policy that is exchanged nothing is left, and guests keep what is theirs.
func TestExchangeMakesWhatAPlanWithTheOtherPolicyHas(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Need(t, hosttest.Tool("nft"))
		n, h := nettest.Host(t), open(t)
		p, c := network(t, h, n)
		must(t, h.Add(netplan.Attach(c, guest("tap0", 2))))
		fresh := nft(t, n, "", "list", "ruleset")
		ports := []netconfig.PortRange{{First: 25, Last: 25}}
		before := c
		for _, policy := range []*netconfig.Policy{
			{Default: netconfig.Deny, LogDefault: true, Rules: []netconfig.Rule{{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: ports, Log: true}}},
			{Rules: []netconfig.Rule{{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: ports}, {Action: netconfig.Allow, Protocol: netconfig.TCP}}},
			nil,
		} {
			now := c
			now.Egress = policy.WithDefaults()
			must(t, h.Exchange(netplan.Egress(before), netplan.Egress(now)))
			plan, err := netplan.Make(now, netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/run/user dir"})
			must(t, err)
			if missing, err := h.Missing(plan.With([]netplan.Guest{guest("tap0", 2)}).Tables); err != nil || len(missing) > 0 {
				t.Errorf("missing %q, %v", missing, err)
			}
			before = now
		}
		if got := nft(t, n, "", "list", "ruleset"); got != fresh {
			t.Errorf("not as before the policies:\n%s", cmp.Diff(fresh, got))
		}
		must(t, h.Replace(p.Tables))
	})
}

func TestExchangeChangesNothingWhenAnotherPolicyIsThere(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		n, h := nettest.Host(t), open(t)
		_, c := network(t, h, n)
		deny, none := c, c
		deny.Egress = (&netconfig.Policy{Default: netconfig.Deny}).WithDefaults()
		before := n.Snapshot(t)
		if err := h.Exchange(netplan.Egress(deny), netplan.Egress(none)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a policy that is not there: %v, want %v", err, fs.ErrNotExist)
		}
		n.Same(t, before)
		must(t, h.Exchange(netplan.Egress(none), netplan.Egress(deny)))
		before = n.Snapshot(t)
		if err := h.Exchange(netplan.Egress(none), netplan.Egress(deny)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a policy that is there already: %v, want %v", err, fs.ErrExist)
		}
		n.Same(t, before)
	})
}
