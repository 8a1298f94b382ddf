package main

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

const startTask = "start a VM"

// starts measures a VM with a network, while another user holds the network: it is
// the VM's TAP, rules and address that are to be made, not the bridge.
func (s *site) starts(ctx context.Context) (err error) {
	raw, err := openRawLinks(s.bridge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	if err := s.lab.manager.Network().Hold(ctx); err != nil {
		return err
	}
	tap := func(ctx context.Context, l *lab) (d sample, err error) {
		done := d.begin()
		err = raw.add(siteTAP)
		done()
		return d, errors.Join(err, pause(ctx, l.random), raw.removeAll())
	}
	arms := []arm{
		{methodSelf + " without", "CreateVM, Start, OpenConsole of a VM without interfaces", bySmartvm((*lab).config)},
		{"raw TAP", "three system calls and one message", tap},
		{"raw with", "raw TAP, then a floor with it: what Firecracker takes for its device is in this", floorWithTAP(raw)},
		{methodSelf + " with", "the same as without, with an interface", bySmartvm(configWithInterface)},
	}
	samples, err := takeTurns(ctx, s.lab, arms, s.opts.n, "network: "+startTask, s.opts.progress)
	if err != nil {
		return err
	}
	took := make([][]float64, len(arms))
	for i := range arms {
		took[i] = column(samples[i], marker)
	}
	s.addStarts(arms, took)
	return nil
}

func configWithInterface(l *lab) vmconfig.Config {
	c := l.config()
	c.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	return c
}

func floorWithTAP(raw *rawLinks) func(context.Context, *lab) (sample, error) {
	return func(ctx context.Context, l *lab) (s sample, err error) {
		v := l.newRaw()
		v.tap = siteTAP
		defer func() { err = errors.Join(err, v.discard(), raw.removeAll()) }()
		if err := v.prepare(); err != nil {
			return s, err
		}
		done := s.begin()
		if err := raw.add(v.tap); err != nil {
			return s, err
		}
		err = v.boot()
		done()
		return s, err
	}
}
