package e2e_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
)

func TestClocksOfGuestsFromSnapshots(t *testing.T) {
	claims(t, "S4.8", "A guest from a snapshot that keeps time by kvm-clock has the right time, where Firecracker can do that")
	claims(t, "S4.8", "A guest from a snapshot that keeps time by the TSC goes on at the time of the snapshot")
	s := newSite(t, smartvm.Options{})
	byKVM := s.late("kvm-clock")
	byTSC := s.late("tsc") // while it boots, the first one gets late
	if gone, behind := byKVM(); behind > gone/2 {
		t.Errorf("by kvm-clock, a guest is %v behind after %v", behind, gone)
	}
	if gone, behind := byTSC(); behind < gone/2 {
		t.Errorf("by the TSC, a guest is only %v behind after %v", behind, gone)
	}
}

// late takes a snapshot of a guest with a clock source. What it returns restores that, and
// tells how much time has gone meanwhile, and how far the guest is behind.
func (s *site) late(source string) (restore func() (gone, behind time.Duration)) {
	s.t.Helper()
	t := s.t
	config := s.config(baseimage.Squashfs)
	config.BootSource.BootArgs += " clocksource=" + source
	vm, g := s.boot(config)
	if got := output(t, g, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource"); got != source {
		t.Fatalf("the clock source is %s, want %s", got, source)
	}
	ahead := sinceBoot(t, g) - time.Duration(time.Now().UnixNano())
	_, err := vm.Snapshot(patient(t), source, smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	taken := time.Now()
	return func() (gone, behind time.Duration) {
		t.Helper()
		must(t, vm.Cleanup(patient(t)))
		binary, err := s.manager.EnsureBinary(patient(t))
		must(t, err)
		can := firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{ClockRealtime: true}).Check(binary.Version) == nil
		clone, err := s.manager.Restore(patient(t), source, smartvm.RestoreOptions{ClockRealtime: can})
		must(t, err)
		t.Cleanup(func() { must(t, clone.Cleanup(context.WithoutCancel(t.Context()))) })
		gone = time.Since(taken)
		g, err := guest.Attach(patient(t), clone)
		must(t, err)
		defer g.Close()
		return gone, ahead - (sinceBoot(t, g) - time.Duration(time.Now().UnixNano()))
	}
}

// sinceBoot is the guest's monotonic clock, which a guest of the lab tells in hundredths
// of a second, and the other one in whole seconds. They move together.
func sinceBoot(t *testing.T, g *guest.Guest) time.Duration {
	t.Helper()
	seconds, err := strconv.ParseFloat(output(t, g, "cut -d' ' -f1 /proc/uptime"), 64)
	must(t, err)
	return time.Duration(seconds * float64(time.Second))
}
