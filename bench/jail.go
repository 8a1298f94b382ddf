package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/vmconfig"
)

// The family of jailed VMs, which needs root and Firecracker's jailer. Jailed is
// compared with jailed: what the jailer itself takes is nobody's gain.
const (
	jailFamily     = "jail"
	armRawJailed   = "raw-jailed"
	armSmartJailed = "smartvm-jailed"
	armPrivate     = "smartvm-jailed-private"
	crowdPart      = "crowd"
)

// jailArms start one jailed VM each; the first and the second one are what the others
// are compared with.
func jailArms() []arm {
	return []arm{
		oneArms()[0],
		{armRawJailed, "directory, hard link of the kernel, config, log file; jailer with pipes; everything measured", rawJail},
		{armSmartJailed, "CreateVM, Start, OpenConsole with a jail; everybody may read the kernel", inJail(func(l *lab) string { return l.openKernel })},
		{armPrivate, "the same, only root may read the kernel, so that its owner has to be mapped", inJail(func(l *lab) string { return l.kernel })},
	}
}

func rawJail(_ context.Context, l *lab) (s sample, err error) {
	v := l.newRawJailed()
	defer func() { err = errors.Join(err, v.discard()) }()
	done := s.begin()
	if err := v.prepare(); err != nil {
		return s, err
	}
	err = v.boot()
	done()
	return s, err
}

func inJail(kernel func(*lab) string) func(context.Context, *lab) (sample, error) {
	return func(ctx context.Context, l *lab) (sample, error) {
		return start(ctx, l.jailing, l.configWith(kernel(l)))
	}
}

// jailedConfig is the VM of the arms with a jail.
func (l *lab) jailedConfig() vmconfig.Config { return l.configWith(l.openKernel) }

// openJailing finds the jailer and makes a manager that uses it.
func (l *lab) openJailing(ctx context.Context) (err error) {
	if l.jailer, err = image.FindJailer(ctx, "", l.binary, filepath.Join(l.memory, "data")); err != nil {
		return err
	}
	if err := l.openJails(); err != nil {
		return err
	}
	l.jailing, err = l.newManager("jrun", l.binary.Path, smartvm.JailOptions{FirstUID: smartFirstUID, LeaseDir: l.leases()})
	if err == nil {
		l.cleanup = append(l.cleanup, l.closeJailing)
	}
	return err
}

func (l *lab) leases() string { return filepath.Join(l.memory, "users") }

func (l *lab) closeJailing() error { return errors.Join(closeManager(l.jailing), l.noLeases()) }

// noLeases checks that every user id has been given back.
func (l *lab) noLeases() error {
	left, err := os.ReadDir(l.leases())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range left {
		err = errors.Join(err, fmt.Errorf("smartvm left the lease of user id %s", entry.Name()))
	}
	return err
}

// crowdArms start many jailed VMs at once.
func crowdArms() []fleetArm {
	const kill = -1 // skips a step of Stop
	return []fleetArm{
		{armRawJailed, "as one of them is started, and everything measured", func(l *lab) fleet { return &rawCrowd{lab: l} }},
		{armSmartJailed, "CreateVM, Start, OpenConsole with a jail", func(l *lab) fleet {
			return &smartFleet{
				lab: l, manager: l.jailing, config: (*lab).jailedConfig, opts: smartvm.StopOptions{Grace: kill, TermGrace: kill},
			}
		}},
	}
}

// rawCrowd is a fleet of jails that are made by hand.
type rawCrowd struct {
	lab *lab
	vms []*rawJailed
}

func (c *rawCrowd) prepare(n int) error {
	for range n {
		c.vms = append(c.vms, c.lab.newRawJailed())
	}
	return nil
}

func (c *rawCrowd) boot(_ context.Context, i int) error {
	if err := c.vms[i].prepare(); err != nil {
		return err
	}
	return c.vms[i].boot()
}

func (c *rawCrowd) stop(context.Context) error {
	for _, v := range c.vms {
		if err := c.lab.children.kill(v.pid); err != nil {
			return err
		}
	}
	return nil // discard reaps
}

func (c *rawCrowd) discard() error {
	var errs []error
	for _, v := range c.vms {
		errs = append(errs, v.discard())
	}
	return errors.Join(errs...)
}
