package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// rules measures how long it takes until a policy is in force.
func (s *site) rules(ctx context.Context) (err error) {
	index, err := s.host.AddTAP(siteTAP, 0) // the tables of the network have a chain of it
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.host.DeleteLink(context.WithoutCancel(ctx), siteTAP, index, s.mark()))
	}()
	err = s.host.AttachTAP(netlinux.Port{Index: index, Bridge: s.bridge, MTU: siteMTU, Mark: s.mark(), Isolated: true})
	if err != nil {
		return err
	}
	plan, err := s.plan(ctx, policy())
	if err != nil {
		return err
	}
	ways := s.plainWays()
	ways = append(ways, s.replacing("its policy", []ruleset.Table{s.policyTable()})...)
	ways = append(ways, s.replacing("its network", plan.Tables)...)
	task := fmt.Sprintf("apply %d rules", policyRules)
	took, err := s.turns(ctx, task, ways, s.opts.n)
	if err != nil {
		return err
	}
	s.add(partRules, task, ways, took)
	return nil
}

// policyTable has nothing but what a policy is made of.
func (s *site) policyTable() ruleset.Table {
	const bridge = "policy" // that there isn't
	c := siteConfig(nil)
	c.Bridge = bridge
	change := netplan.Attach(c, siteGuestWith(policy()))
	t := ruleset.Table{Family: ruleset.Inet, Name: netplan.TableName(bridge), Comment: s.mark()}
	for _, set := range change.Sets {
		t.Sets = append(t.Sets, set.Item)
	}
	for _, chain := range change.Chains {
		if chain.Family == ruleset.Inet {
			t.Chains = append(t.Chains, chain.Item)
		}
	}
	return t
}

// replacing makes tables where there are none, and again where they are.
func (s *site) replacing(what string, tables []ruleset.Table) []networkWay {
	replace := func(context.Context) error { return s.host.Replace(tables) }
	remove := func(context.Context) error { return s.host.RemoveTables(tables[0].Name, s.mark()) }
	return []networkWay{
		{
			name: methodSelf + ": " + what, what: "Replace, where there is none",
			run: replace, discard: remove, judged: true,
		},
		{
			name: methodSelf + ": " + what + " anew", what: "Replace of what is there",
			prepare: replace, run: replace, discard: remove, judged: true,
		},
	}
}

// plainWays are what others do.
func (s *site) plainWays() []networkWay {
	p, text := policy(), plainText(policy())
	remove := func(context.Context) error { return removePlainTable() }
	ways := []networkWay{
		{
			name: "nftables", what: "google/nftables, a rule for each, in one transaction",
			run: func(context.Context) error { return applyPlainly(p) }, discard: remove,
		},
		{
			name: "nft", what: "nft -f, the same rules",
			run: func(ctx context.Context) error { return applyByNft(ctx, text) }, discard: remove,
		},
	}
	if _, err := exec.LookPath("nft"); err != nil {
		s.Notes = append(s.Notes, "no rules by nft: "+err.Error())
		ways = slices.Delete(ways, 1, 2)
	}
	return ways
}
