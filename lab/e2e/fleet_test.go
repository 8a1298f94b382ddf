package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

const (
	fleetSize     = 20
	fleetMemMiB   = 80 // Debian's kernel does not boot in 64
	fleetPatience = 10 * patience
)

// fleet is many guests that are asked all at the same time.
type fleet struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test
	vms    [fleetSize]*smartvm.VM
	guests [fleetSize]*guest.Guest
}

// each does something with each of the guests, and ends the test if that fails.
func (f *fleet) each(do func(i int) error) {
	f.t.Helper()
	var errs [fleetSize]error
	var all sync.WaitGroup
	for i := range fleetSize {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			f.t.Errorf("guest %d: %v", i, err)
		}
	}
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// boot starts VMs of a configuration, all at the same time. Their guests come up one
// after the other: several on one emulated processor take longer together.
func (f *fleet) boot(m *smartvm.Manager, config vmconfig.Config) {
	f.t.Helper()
	f.t.Cleanup(func() { must(f.t, m.Cleanup(context.WithoutCancel(f.ctx))) })
	began := time.Now()
	f.each(func(i int) (err error) {
		if f.vms[i], err = m.CreateVM(fmt.Sprintf("vm-%d", i), config); err == nil {
			err = f.vms[i].Start(f.ctx)
		}
		if err == nil {
			err = f.vms[i].Pause(f.ctx)
		}
		return err
	})
	f.t.Logf("all are started after %.2f s", time.Since(began).Seconds())
	f.t.Cleanup(func() {
		for _, g := range f.guests {
			if g != nil {
				must(f.t, g.Close())
			}
		}
	})
	for i, vm := range f.vms {
		must(f.t, vm.Resume(f.ctx))
		g, err := guest.Boot(f.ctx, vm)
		must(f.t, err)
		f.guests[i] = g
	}
	f.t.Logf("all are up after %.2f s", time.Since(began).Seconds())
}

// want wants an answer of each guest to a command.
func (f *fleet) want(command, answer func(i int) string) {
	f.t.Helper()
	f.each(func(i int) error {
		got, err := f.guests[i].Output(f.ctx, command(i))
		if err == nil && got != answer(i) {
			err = fmt.Errorf("it says %q, want %q", got, answer(i))
		}
		return err
	})
}

func TestTwentyGuestsLiveAtTheSameTime(t *testing.T) {
	claims(t, "S2.6", "Twenty VMs are started at the same time, the guests of all of them answer, and StopAll has them all shut down")
	claims(t, "S3.3", "Guests that have the same file as their drive each write to a copy of their own")
	claims(t, "S4.10", "A Firecracker that is killed is an error of its VM and does no harm to others")
	s := newSite(t, smartvm.Options{StartTimeout: fleetPatience})
	config := s.config(baseimage.Squashfs)
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: fleetMemMiB}
	source := disk(t, "", 1)
	config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: source}})
	before := sum(t, source)
	ctx, cancel := context.WithTimeout(t.Context(), fleetPatience)
	t.Cleanup(cancel)
	f := &fleet{t: t, ctx: ctx}
	f.boot(s.manager, config)

	name := func(i int) string { return fmt.Sprintf("guest %d", i) }
	write := func(i int) string {
		return "echo " + name(i) + " | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null; blockdev --flushbufs /dev/vdb"
	}
	f.want(write, func(int) string { return "" })
	f.want(func(int) string { return "head -n 1 /dev/vdb" }, name)
	if sum(t, source) != before {
		t.Error("a guest has changed the source of the drives")
	}

	const victim = 7
	entry, err := s.manager.Inspect(ctx, f.vms[victim].ID())
	must(t, err)
	must(t, unix.Kill(entry.PID, unix.SIGKILL))
	end, err := f.vms[victim].Wait(ctx)
	must(t, err)
	if end.Asked || end.Status.Signal != int(unix.SIGKILL) || f.vms[victim].State() != smartvm.Failed {
		t.Errorf("killed, it ended %+v, and is %s", end, f.vms[victim].State())
	}

	must(t, s.manager.StopAll(ctx, smartvm.StopOptions{Grace: fleetPatience}))
	for i, vm := range f.vms {
		if end := vm.Ended(); i != victim && (end == nil || !end.Asked || !end.Status.Success() || vm.State() != smartvm.Stopped) {
			t.Errorf("guest %d ended %+v, want that it shut down as it was asked", i, end)
		}
	}
}
