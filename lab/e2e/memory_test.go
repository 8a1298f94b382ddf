package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
)

func TestBalloonTakesMemoryFromTheGuestAndGivesItBack(t *testing.T) {
	claims(t, "S4.6", "A balloon that is inflated takes memory away from a running guest, which the host has back; deflated, it gives it back to the guest")
	claims(t, "S5.1", "A balloon with an interval for statistics tells how large it is, and what memory the guest has")
	const mib = 32
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Balloon = &firecracker.Balloon{StatsPollingIntervalS: 1}
	vm, g := s.boot(config)
	entry, err := s.manager.Inspect(patient(t), vm.ID())
	must(t, err)
	// What the guest has never used, the host has not given it yet.
	output(t, g, "dd if=/dev/zero of=/tmp/all bs=1M count=40 status=none && rm /tmp/all")
	total, resident := memTotal(t, g), rss(t, entry.PID)

	must(t, vm.UpdateBalloon(patient(t), mib))
	awaitBalloon(t, vm, mib, total-mib<<10)
	if now := memTotal(t, g); now != total-mib<<10 {
		t.Errorf("the guest has %d KiB with the balloon, and %d KiB without", now, total)
	}
	if now := rss(t, entry.PID); resident-now < mib<<10/2 {
		t.Errorf("the host has given the guest %d KiB with the balloon, and %d KiB without", now, resident)
	}
	must(t, vm.UpdateBalloon(patient(t), 0))
	awaitBalloon(t, vm, 0, total)
	if now := memTotal(t, g); now != total {
		t.Errorf("the guest has %d KiB after the balloon, and %d KiB before", now, total)
	}
	shutDown(t, vm)
}

// awaitBalloon waits until the statistics say that the balloon has a size, and the
// guest so much memory.
func awaitBalloon(t *testing.T, vm *smartvm.VM, mib, totalKiB int) {
	t.Helper()
	client, err := vm.Client()
	must(t, err)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx := patient(t); ; {
		stats, err := client.BalloonStats(ctx)
		must(t, err)
		if stats.ActualMiB == mib && stats.TotalMemory != nil && *stats.TotalMemory == uint64(totalKiB)<<10 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the balloon should have %d MiB, and the guest %d KiB: %+v", mib, totalKiB, stats)
		}
	}
}

// memTotal is how many KiB of memory the guest has.
func memTotal(t *testing.T, g *guest.Guest) int {
	t.Helper()
	kib, err := strconv.Atoi(output(t, g, "grep MemTotal /proc/meminfo | tr -dc 0-9"))
	must(t, err)
	return kib
}

// rss is how many KiB of memory a process has.
func rss(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	must(t, err)
	return kib
}
