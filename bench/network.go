package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// The family that needs root, and its parts.
const (
	networkFamily = "network"
	partTAPs      = "taps"
	partRules     = "rules"
	partStream    = "stream"
	partStarts    = "net-starts"
)

func networkParts() []string {
	return []string{partTAPs, partRules, partStream, partStarts, partRestores}
}

// network has this program run again where it can do no harm, and takes over what
// that process has measured.
func (r *report) network(ctx context.Context, _ *lab, opts *options) error {
	if !opts.wants(append(networkParts(), networkFamily)...) {
		return nil
	}
	if os.Geteuid() != 0 {
		r.Notes = append(r.Notes, "no network: it needs root")
		return nil
	}
	var m measured
	if err := isolate(ctx, opts.progress, &m); err != nil {
		return err
	}
	r.Network, r.Notes = m.Results, append(r.Notes, m.Notes...)
	return nil
}

// The network of the parts that have no VM. It is none of the manager's.
const (
	siteBridge = "bench0"
	siteTAP    = "benchtap" // of its only guest
	siteSubnet = "198.18.0.0/24"
	siteGuest  = "198.18.0.2"
)

// measured is what the process in a namespace of its own tells the other one.
type measured struct {
	Results []NetworkResult `json:"results"`
	Notes   []string        `json:"notes"`
}

// site is a host in a network namespace of its own, with a bridge.
type site struct {
	measured

	lab    *lab
	opts   *options
	host   *netlinux.Host
	bridge int // index
}

// measure runs the parts that are asked for. What they leave goes with the namespace.
func (s *site) measure(ctx context.Context) (err error) {
	if s.host, err = netlinux.Open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.host.Close()) }()
	plan, err := s.plan(ctx, nil)
	if err != nil {
		return err
	}
	if s.bridge, err = s.host.AddBridge(plan.Bridge, plan.Mark); err != nil {
		return err
	}
	for i, part := range []func(context.Context) error{s.taps, s.rules, s.stream, s.starts, s.restores} {
		if !s.opts.wants(networkFamily, networkParts()[i]) {
			continue
		}
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) owner() netplan.Owner { return netplan.Owner{ID: "0123456789ab", Dir: s.lab.memory} }
func (s *site) mark() string         { return s.owner().Mark(siteBridge) }

func siteConfig(egress *netconfig.Policy) netconfig.Config {
	c := netconfig.Config{Bridge: siteBridge, Subnet: netip.MustParsePrefix(siteSubnet), Egress: egress}
	return *c.WithDefaults()
}

// plan is the network with its guest.
func (s *site) plan(ctx context.Context, egress *netconfig.Policy) (*netplan.Plan, error) {
	facts, err := s.host.Facts(ctx, siteBridge, "")
	if err != nil {
		return nil, err
	}
	plan, err := netplan.Make(siteConfig(egress), facts, s.owner())
	if err != nil {
		return nil, err
	}
	return plan.With([]netplan.Guest{siteGuestWith(nil)}), nil
}

func siteGuestWith(egress *netconfig.Policy) netplan.Guest {
	return netplan.Guest{
		TAP: siteTAP, MAC: netplan.HardwareAddr{0x02, 0, 0, 0, 0, 0x02}, Addr: netip.MustParseAddr(siteGuest),
		VM: "bench", Iface: "eth0", Egress: egress,
	}
}

// networkWay is one way to do a task. Only run is measured; discard follows whenever
// prepare has been called.
type networkWay struct {
	name, what            string
	judged                bool // there is a goal for it
	prepare, run, discard func(context.Context) error
}

// turns runs every way so many times, in another order in each round, after one run
// each that does not count. It returns milliseconds.
func (s *site) turns(ctx context.Context, task string, ways []networkWay, n int) ([][]float64, error) {
	took := make([][]float64, len(ways))
	say(s.opts.progress, "network: %s", task)
	for round := range n + 1 {
		for _, i := range s.lab.random.Perm(len(ways)) {
			d, err := s.turn(ctx, ways[i])
			if err != nil {
				return nil, fmt.Errorf("%s by %s: %w", task, ways[i].name, err)
			}
			if round > 0 {
				took[i] = append(took[i], milliseconds(d))
			}
		}
	}
	return took, nil
}

func (s *site) turn(ctx context.Context, w networkWay) (took time.Duration, err error) {
	if w.discard != nil {
		defer func() {
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(err, pause(ctx, s.lab.random), w.discard(ctx))
		}()
	}
	if w.prepare != nil {
		if err := w.prepare(ctx); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, s.lab.random); err != nil {
		return 0, err
	}
	began := time.Now()
	err = w.run(ctx)
	return time.Since(began), err
}
