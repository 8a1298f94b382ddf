package main

import (
	"context"
	"errors"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

// partRestores restores a VM with a network.
const partRestores = "net-restores"

const restoreTask = "restore a VM"

// wired is the snapshot of a guest that has an interface and counts.
const wired = "wired"

// restores measures a VM that is restored with its network, while another user holds the
// network.
func (s *site) restores(ctx context.Context) (err error) {
	raw, err := openRawLinks(s.bridge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	l := s.lab
	if err := l.manager.Network().Hold(ctx); err != nil {
		return err
	}
	if err := errors.Join(l.openJails(), l.openDisk()); err != nil {
		return err
	}
	config := l.countedConfig(paces[warm])
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	tap, err := l.openSnapshot(ctx, wired, config)
	if err != nil {
		return err
	}
	arms := []arm{
		{"raw with", "raw TAP of the name that the snapshot has, then raw-load", loadWithTAP(raw, tap)},
		{methodSelf + " with", "Restore, OpenConsole; namespace, TAP, addresses, translation, rules", bySnapshot(wired, func(l *lab) *smartvm.Manager { return l.manager })},
	}
	samples, err := takeTurns(ctx, l, arms, s.opts.n, "network: "+restoreTask, s.opts.progress)
	if err != nil {
		return err
	}
	var ways []networkWay
	var took [][]float64
	for i, a := range arms {
		ways = append(ways, networkWay{name: a.name, what: a.what, judged: i == len(arms)-1})
		took = append(took, column(samples[i], started))
	}
	s.add(partRestores, restoreTask, ways, took)
	return nil
}

func loadWithTAP(raw *rawLinks, tap string) func(context.Context, *lab) (sample, error) {
	return func(_ context.Context, l *lab) (s sample, err error) {
		v := l.newRaw()
		defer func() { err = errors.Join(err, v.discard(), raw.removeAll()) }()
		if err := v.prepareAwaited(); err != nil {
			return s, err
		}
		began := time.Now()
		done := s.begin()
		if err := raw.add(tap); err != nil {
			return s, err
		}
		err = v.load(wired, v.await, func() { s.started = time.Since(began) })
		done()
		return s, err
	}
}
