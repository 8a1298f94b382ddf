package hostnet_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	try(t, proc.Run(t.Context(), proc.Command{Path: hosttest.Path(t, "ip"), Args: args}))
}

func TestCheckTellsWhoHasTakenAddresses(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("ip"))
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		v.attach(t, n)
		ip(t, "link", "add", "dummy0", "type", "bridge")
		ip(t, "link", "set", "dummy0", "up")
		ip(t, "route", "add", "172.30.0.128/25", "dev", "dummy0")
		faults, err := n.Check(t.Context())
		if err != nil || !strings.Contains(textOf(faults), "172.30.0.128/25") || !strings.Contains(textOf(faults), "dummy0") {
			t.Errorf("faults: %s, %v", textOf(faults), err)
		}
		// What the network has is kept up all the same.
		if err := n.SetEgress(t.Context(), nil); err != nil {
			t.Error(err)
		}
		ip(t, "link", "del", "dummy0")
		v.gone(t)
		s.clean(t)
	})
}

// A route or rule set of others that is loaded later is no part of the network.
func TestFirewallThatIsReloadedIsFoundAndPassed(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("nft"))
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		v.attach(t, n)
		load := func() {
			nft(t, "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }")
		}
		load()
		if faults, err := n.Check(t.Context()); err != nil || !strings.Contains(textOf(faults), "FORWARD") {
			t.Errorf("faults: %s, %v", textOf(faults), err)
		}
		for range 2 {
			if err := n.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
			if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("faults: %s, %v", textOf(faults), err)
			}
			nft(t, "flush chain ip filter FORWARD")
			if faults, err := n.Check(t.Context()); err != nil || len(faults) == 0 {
				t.Errorf("a flushed chain is no fault: %v", err)
			}
		}
		if err := n.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		v.gone(t)
		out, err := exec.Command("nft", "list", "chain", "ip", "filter", "FORWARD").CombinedOutput()
		if err != nil || strings.Contains(string(out), "svbr0") {
			t.Errorf("left in a chain of others: %s, %v", out, err)
		}
		nft(t, "delete table ip filter")
		s.clean(t)
	})
}

func TestRepairKeepsPortsOfTheBridge(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		tap := v.attach(t, n)
		before := s.host.Link(t, tap.Name).Attrs()
		if err := n.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := s.host.Link(t, tap.Name).Attrs()
		if before.MasterIndex != after.MasterIndex || after.MasterIndex == 0 || after.OperState != before.OperState {
			t.Errorf("before %+v, after %+v", before, after)
		}
		v.gone(t)
		s.clean(t)
	})
}
