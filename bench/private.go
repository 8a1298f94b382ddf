package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm"
)

// memoryPart measures the memory that clones do not share before they run.
const memoryPart = "memory"

const memoryClones = 20

// privates measures clones that stand where their original stood.
func (r *report) privates(ctx context.Context, l *lab) error {
	for _, w := range []struct {
		arm, what string
		measure   func(context.Context, *lab) (kib, controller float64, err error)
	}{
		{armRawLoad, "Firecracker with a snapshot that it has loaded", rawPrivate},
		{armRestore, "the same of a clone", clonePrivate(func(l *lab) *smartvm.Manager { return l.manager })},
		{armJailedLoad, "the same in a jail, in which all of them have one copy of Firecracker", clonePrivate(func(l *lab) *smartvm.Manager { return l.jailing })},
	} {
		kib, controller, err := w.measure(ctx, l)
		if err != nil {
			return err
		}
		r.Private = append(r.Private, PrivateResult{Arm: w.arm, What: w.what, VMs: memoryClones, KiB: kib, ControllerKiB: controller})
	}
	return nil
}

func rawPrivate(_ context.Context, l *lab) (kib, controller float64, err error) {
	var vms []*rawVM
	defer func() {
		for _, v := range vms {
			err = errors.Join(err, v.discard())
		}
	}()
	var pids []int
	for range memoryClones {
		v := l.newRaw()
		vms = append(vms, v)
		if err := v.prepareLoad(); err != nil {
			return 0, 0, err
		}
		if err := v.open(calm, connectLooking, false); err != nil {
			return 0, 0, err
		}
		pids = append(pids, v.pid)
	}
	kib, err = privateOf(pids)
	return kib, 0, err
}

func clonePrivate(manager func(*lab) *smartvm.Manager) func(context.Context, *lab) (kib, controller float64, err error) {
	return func(ctx context.Context, l *lab) (kib, controller float64, err error) {
		m := manager(l)
		before := heap()
		vms, err := m.Clone(ctx, calm, memoryClones, smartvm.CloneOptions{RestoreOptions: smartvm.RestoreOptions{Paused: true}})
		if err != nil {
			return 0, 0, err
		}
		controller = (heap() - before) / memoryClones
		defer func() {
			for _, vm := range vms {
				err = errors.Join(err, discard(ctx, m, vm))
			}
		}()
		var pids []int
		for _, vm := range vms {
			entry, err := m.Inspect(ctx, vm.ID())
			if err != nil {
				return 0, 0, err
			}
			pids = append(pids, entry.PID)
		}
		kib, err = privateOf(pids)
		return kib, controller, err
	}
}

// heap is what this process has in use, in KiB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse+m.StackInuse) / 1024
}

// privateOf is the mean of the memory that processes share with nobody, in KiB.
func privateOf(pids []int) (float64, error) {
	sum := 0
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range bytes.Lines(data) {
			name, value, _ := strings.Cut(string(line), ":")
			if name != "Private_Clean" && name != "Private_Dirty" {
				continue
			}
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				return 0, err
			}
			sum += kib
		}
	}
	return float64(sum) / float64(len(pids)), nil
}
