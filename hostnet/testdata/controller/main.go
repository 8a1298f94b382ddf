// Controller uses a network as a manager of VMs does, to be killed on the way or to
// work beside others of its kind.
//
//	controller life RUNTIME TUNNEL  one life of a network, from its making to its end; its
//	                                guests go out through the interface TUNNEL
//	controller use RUNTIME N ID     N VMs join the network; they leave when stdin ends
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/netconfig"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, what, runtime string, args []string) error {
	var config netconfig.Config
	if what == "life" {
		config.WireGuard = &netconfig.WireGuard{Existing: args[0]}
		config.Egress = policy(22)
	}
	n, err := hostnet.New(hostnet.Options{Dir: runtime, Config: config})
	if err != nil {
		return err
	}
	if what == "life" {
		err = life(ctx, n, runtime)
	} else {
		err = use(ctx, n, runtime, args)
	}
	return errors.Join(err, n.Close())
}

// guest is what a VM has of a network.
type guest struct {
	*ledger.Ledger

	tap *hostnet.TAP
}

func attach(ctx context.Context, n *hostnet.Network, runtime string, r hostnet.Request) (*guest, error) {
	l, err := ledger.Create(runtime, r.VM)
	if err != nil {
		return nil, err
	}
	tap, err := n.Attach(ctx, l, l.Dir(), r)
	if err != nil {
		return nil, errors.Join(err, l.Release(ctx), l.Destroy())
	}
	return &guest{l, tap}, nil
}

func (g *guest) end(ctx context.Context) error { return errors.Join(g.Release(ctx), g.Destroy()) }

// policy has each kind of rule.
func policy(port uint16) *netconfig.Policy {
	return &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
		{Action: netconfig.Allow, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: port, Last: port + 9}}},
		{Action: netconfig.Deny, Protocol: netconfig.ICMP, Log: true},
	}}
}

// life passes every point at which a network, or what is on it, changes.
func life(ctx context.Context, n *hostnet.Network, runtime string) error {
	first, err := attach(ctx, n, runtime, hostnet.Request{
		VM: "first", Iface: "eth0", Egress: policy(80),
		Forwards: []netconfig.Forward{{HostPort: 18080, GuestPort: 80}, {HostIP: netip.IPv4Unspecified(), HostPort: 15353, GuestPort: 53, Protocol: netconfig.UDP}},
	})
	if err != nil {
		return err
	}
	if err := clones(ctx, n, runtime); err != nil {
		return err
	}
	if err := n.Hold(ctx); err != nil {
		return err
	}
	if err := n.SetEgress(ctx, policy(443)); err != nil {
		return err
	}
	tap, err := n.CreateTAP(ctx, "second", "eth0")
	if err != nil {
		return err
	}
	if err := n.Repair(ctx); err != nil {
		return err
	}
	if err := n.DeleteTAP(ctx, tap.Name); err != nil {
		return err
	}
	if _, err := n.CreateTAP(ctx, "third", "eth0"); err != nil {
		return err
	}
	if err := n.Cleanup(ctx); err != nil {
		return err
	}
	return first.end(ctx)
}

// clones passes the points at which clones of a guest come and go: one whose namespace
// is there until the end, and one whose namespace is gone before.
func clones(ctx context.Context, n *hostnet.Network, runtime string) error {
	for _, vm := range []string{"clone", "dead-clone"} {
		ns, err := hostnet.NewNamespace()
		if err != nil {
			return err
		}
		g, err := attach(ctx, n, runtime, hostnet.Request{
			VM: vm, Iface: "eth0", Egress: policy(80),
			Inside: &hostnet.Inside{Namespace: ns, MAC: "02:00:00:00:00:01", Addr: netip.MustParseAddr("172.30.0.200")},
		})
		if err != nil {
			return errors.Join(err, ns.Close())
		}
		if vm == "clone" {
			err = errors.Join(n.Repair(ctx), g.end(ctx), ns.Close())
		} else {
			err = errors.Join(ns.Close(), g.end(ctx))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// use prints the address, MAC address and TAP of each VM, then an empty line.
func use(ctx context.Context, n *hostnet.Network, runtime string, args []string) error {
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	guests, errs := make([]*guest, count), make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			guests[i], errs[i] = attach(ctx, n, runtime, hostnet.Request{VM: fmt.Sprintf("%s-%d", args[1], i), Iface: "eth0"})
		})
	}
	all.Wait()
	out := bufio.NewWriter(os.Stdout)
	for _, g := range guests {
		if g != nil {
			fmt.Fprintln(out, g.tap.Addr, g.tap.MAC, g.tap.Name)
		}
	}
	fmt.Fprintln(out)
	errs = append(errs, out.Flush())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for i, g := range guests {
		if g != nil {
			all.Go(func() { errs[i] = errors.Join(errs[i], g.end(ctx)) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}
