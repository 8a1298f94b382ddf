package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// The arms that start one VM.
const (
	oneFamily   = "one"
	armFloor    = "floor"
	armFair     = "floor-files"
	armReady    = "floor-ready"
	armPuts     = "puts"
	armPipeline = "pipeline"
	armSmartvm  = "smartvm"
)

// sample is one start: the times from its beginning, and what it cost this process.
type sample struct {
	marker  time.Duration // until the guest's first byte was read
	started time.Duration // until Start or InstanceStart returned; 0 when an arm has no such moment
	cpu     time.Duration
}

// arm is one way to start a VM. Its clean-up is not measured.
type arm struct {
	name, what string
	run        func(context.Context, *lab) (sample, error)
}

func oneArms() []arm {
	return []arm{
		{armFloor, "spawn with --api-sock and --config-file; directory, config and log file are made before", floor(false)},
		{armFair, "the same, directory, config and log file made in the measured time", floor(true)},
		{armReady, "floor, but ask the API whether the VM runs, then wait for its byte", byAPI((*rawVM).bootReady)},
		{armPuts, "spawn with --api-sock; await socket; one request after the other; directory, log file and inotify made before", byAPI(puts)},
		{armPipeline, "the same, the configuration in one write, then InstanceStart", byAPI(pipeline)},
		{armSmartvm, "CreateVM, Start, OpenConsole, everything measured", bySmartvm((*lab).config)},
	}
}

func floor(files bool) func(context.Context, *lab) (sample, error) {
	return func(_ context.Context, l *lab) (s sample, err error) {
		v := l.newRaw()
		defer func() { err = errors.Join(err, v.discard()) }()
		if !files {
			if err := v.prepare(); err != nil {
				return s, err
			}
		}
		done := s.begin()
		if files {
			if err := v.prepare(); err != nil {
				return s, err
			}
		}
		err = v.boot()
		done()
		return s, err
	}
}

func byAPI(boot func(v *rawVM, started func()) error) func(context.Context, *lab) (sample, error) {
	return func(_ context.Context, l *lab) (s sample, err error) {
		v := l.newRaw()
		defer func() { err = errors.Join(err, v.discard()) }()
		if err := errors.Join(v.prepare(), v.watch()); err != nil {
			return s, err
		}
		began := time.Now()
		done := s.begin()
		err = boot(v, func() { s.started = time.Since(began) })
		done()
		return s, err
	}
}

func bySmartvm(config func(*lab) vmconfig.Config) func(context.Context, *lab) (sample, error) {
	return func(ctx context.Context, l *lab) (sample, error) { return start(ctx, l.manager, config(l)) }
}

// start has a manager start one VM.
func start(ctx context.Context, m *smartvm.Manager, config vmconfig.Config) (s sample, err error) {
	began := time.Now()
	done := s.begin()
	vm, err := m.CreateVM("", config)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, discard(ctx, m, vm)) }()
	if err := vm.Start(ctx); err != nil {
		return s, err
	}
	s.started = time.Since(began)
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return s, err
	}
	err = awaitMarker(console)
	done()
	return s, errors.Join(err, console.Close())
}

// awaitMarker reads as a program does that looks for something in a stream.
func awaitMarker(r io.Reader) error {
	_, err := bufio.NewReader(r).ReadBytes(hello.Marker)
	return err
}

// begin starts the clocks; the function that it returns stops them.
func (s *sample) begin() (done func()) {
	cpu, began := selfCPU(), time.Now()
	return func() { s.marker, s.cpu = time.Since(began), selfCPU()-cpu }
}

func (l *lab) newRaw() *rawVM {
	l.made++
	return &rawVM{lab: l, dir: filepath.Join(l.memory, fmt.Sprintf("raw-%d", l.made))}
}

func discard(ctx context.Context, m *smartvm.Manager, vm *smartvm.VM) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err := vm.Cleanup(ctx)
	m.RemoveVM(vm.ID())
	return err
}

// takeTurns runs every arm n times, in another order in each round, after one
// run each that does not count. The samples of a round have the same index.
func takeTurns(ctx context.Context, l *lab, arms []arm, n int, what string, progress io.Writer) ([][]sample, error) {
	samples := make([][]sample, len(arms))
	for round := range n + 1 {
		if round%50 == 0 {
			say(progress, "%s: round %d of %d", what, round, n)
		}
		for _, i := range l.random.Perm(len(arms)) {
			if err := pause(ctx, l.random); err != nil {
				return nil, err
			}
			s, err := arms[i].run(ctx, l)
			if err != nil {
				return nil, fmt.Errorf("arm %s: %w", arms[i].name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	return samples, nil
}
