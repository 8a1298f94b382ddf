package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/vmconfig"
)

const fleetFamily = "fleet"

// fleet is one way to have many VMs. Only boot and stop are measured.
type fleet interface {
	prepare(n int) error                   // what is made before anything is measured
	boot(ctx context.Context, i int) error // called from several goroutines, until the guest spoke
	stop(ctx context.Context) error        // all of them
	discard() error                        // whatever is left, however far it got
}

// fleetArm makes fleets of one kind.
type fleetArm struct {
	name, what string
	open       func(*lab) fleet
}

func fleetArms() []fleetArm {
	const kill = -1 // skips a step of Stop
	return []fleetArm{
		{"raw", "files made before; stop: signal all, then reap", func(l *lab) fleet { return &rawFleet{lab: l} }},
		{"raw-files", "files made in the measured time; stop: kill and reap one after the other", func(l *lab) fleet {
			return &rawFleet{lab: l, files: true, oneByOne: true}
		}},
		{"raw-ready", "raw, but ask each API whether the VM runs, as a start that returns then has to", func(l *lab) fleet {
			return &rawFleet{lab: l, ready: true}
		}},
		{"smartvm", "stop: StopAll that kills at once", func(l *lab) fleet {
			return &smartFleet{lab: l, manager: l.manager, config: (*lab).config, opts: smartvm.StopOptions{Grace: kill, TermGrace: kill}}
		}},
		{"smartvm-grace", "stop: StopAll with Ctrl+Alt+Del", func(l *lab) fleet { return &smartFleet{lab: l, manager: l.manager, config: (*lab).config} }},
	}
}

type rawFleet struct {
	lab      *lab
	files    bool // are made in the measured time
	ready    bool // the API is asked before the guest is waited for
	oneByOne bool
	vms      []*rawVM
}

func (f *rawFleet) prepare(n int) error {
	for range n {
		v := f.lab.newRaw()
		f.vms = append(f.vms, v)
		if f.files {
			continue
		}
		if err := v.prepare(); err != nil {
			return err
		}
	}
	return nil
}

func (f *rawFleet) boot(_ context.Context, i int) error {
	if f.files {
		if err := f.vms[i].prepare(); err != nil {
			return err
		}
	}
	if f.ready {
		return f.vms[i].bootKnown()
	}
	return f.vms[i].boot()
}

func (f *rawFleet) stop(context.Context) error {
	children := &f.lab.children
	if !f.oneByOne {
		for _, v := range f.vms {
			if err := children.kill(v.pid); err != nil {
				return err
			}
		}
	}
	for _, v := range f.vms {
		if f.oneByOne {
			if err := children.kill(v.pid); err != nil {
				return err
			}
		}
		if err := children.reap(v.pid); err != nil {
			return err
		}
		v.pid = 0
	}
	return nil
}

func (f *rawFleet) discard() error {
	var errs []error
	for _, v := range f.vms {
		errs = append(errs, v.discard())
	}
	return errors.Join(errs...)
}

type smartFleet struct {
	lab     *lab
	manager *smartvm.Manager
	config  func(*lab) vmconfig.Config
	opts    smartvm.StopOptions
}

func (f *smartFleet) prepare(int) error { return nil }

func (f *smartFleet) boot(ctx context.Context, _ int) error {
	vm, err := f.manager.CreateVM("", f.config(f.lab))
	if err != nil {
		return err
	}
	if err := vm.Start(ctx); err != nil {
		return err
	}
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return err
	}
	return errors.Join(awaitMarker(console), console.Close())
}

func (f *smartFleet) stop(ctx context.Context) error { return f.manager.StopAll(ctx, f.opts) }

func (f *smartFleet) discard() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	return f.manager.Cleanup(ctx)
}

// fleetSample is one fleet from its first spawn to the end of its last VM.
type fleetSample struct {
	boot, stop       time.Duration
	bootCPU, stopCPU time.Duration   // of this process
	peakMiB          float64         // of this process, while it booted
	spoke            []time.Duration // when each guest had spoken
}

func (a fleetArm) run(ctx context.Context, l *lab, n, concurrency int) (s fleetSample, err error) {
	f := a.open(l)
	defer func() { err = errors.Join(err, f.discard()) }()
	if err := errors.Join(f.prepare(n), resetPeak()); err != nil {
		return s, err
	}
	s.spoke = make([]time.Duration, n)
	cpu, began := selfCPU(), time.Now()
	err = each(n, concurrency, func(i int) error {
		err := f.boot(ctx, i)
		s.spoke[i] = time.Since(began)
		return err
	})
	if err != nil {
		return s, err
	}
	s.boot, s.bootCPU = time.Since(began), selfCPU()-cpu
	if s.peakMiB, err = peakRSS(); err != nil {
		return s, err
	}
	if err := pause(ctx, l.random); err != nil {
		return s, err
	}
	cpu, began = selfCPU(), time.Now()
	err = f.stop(ctx)
	s.stop, s.stopCPU = time.Since(began), selfCPU()-cpu
	return s, err
}

// each calls do for 0 to n-1, so many at the same time.
func each(n, concurrency int, do func(int) error) error {
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	errs := make([]error, n)
	for range min(concurrency, n) {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// turns are rounds of fleets.
type turns struct {
	what                     string // for whoever watches
	rounds, vms, concurrency int
}

// fleetTurns runs every arm once per round, in another order in each.
func fleetTurns(ctx context.Context, l *lab, arms []fleetArm, t turns, progress io.Writer) ([][]fleetSample, error) {
	samples := make([][]fleetSample, len(arms))
	for round := range t.rounds {
		say(progress, "%s: round %d of %d", t.what, round+1, t.rounds)
		for _, i := range l.random.Perm(len(arms)) {
			if err := pause(ctx, l.random); err != nil {
				return nil, err
			}
			s, err := arms[i].run(ctx, l, t.vms, t.concurrency)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", t.what, arms[i].name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	return samples, nil
}
