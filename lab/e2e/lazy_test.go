package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

// lazySite has a manager that knows a page server.
func lazySite(t *testing.T) *site {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	return newSite(t, smartvm.Options{PageServer: []string{self, commandWord, "page-server"}})
}

// keep takes a snapshot of a guest that has a file in its memory, and ends it. It returns
// the file's hash.
func (s *site) keep(config vmconfig.Config) (hash string) {
	t := s.t
	t.Helper()
	vm, g := s.boot(config)
	hash = output(t, g, "dd if=/dev/urandom of=/tmp/file bs=1M count=1 2>/dev/null; sha256sum </tmp/file")
	_, err := vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	t.Cleanup(func() {
		must(t, s.manager.Cleanup(context.WithoutCancel(t.Context())))
		must(t, s.manager.Snapshots().Remove(context.WithoutCancel(t.Context()), "warm"))
	})
	must(t, g.Close())
	must(t, vm.Cleanup(patient(t)))
	return hash
}

// served restores the guest, whose memory a page server has to serve.
func (s *site) served(o smartvm.RestoreOptions) (*smartvm.VM, *guest.Guest) {
	t := s.t
	t.Helper()
	vm, err := s.manager.Restore(patient(t), "warm", o)
	must(t, err)
	g, err := guest.Attach(patient(t), vm)
	must(t, err)
	entry, err := s.manager.Inspect(patient(t), vm.ID())
	must(t, err)
	if !slices.ContainsFunc(entry.Resources, func(r string) bool { return strings.HasPrefix(r, "page server process") }) {
		t.Errorf("no page server among %q", entry.Resources)
	}
	return vm, g
}

func wantFile(t *testing.T, g *guest.Guest, hash string) {
	t.Helper()
	if got := output(t, g, "sha256sum </tmp/file"); got != hash {
		t.Errorf("the file's hash is %s, was %s", got, hash)
	}
}

func TestGuestWhoseMemoryIsServedPageByPage(t *testing.T) {
	claims(t, "S4.7, S4.8", "A guest whose memory a page server serves goes on where it was; what its balloon gives away meanwhile, it has back as zeros")
	const mib = 4
	s := lazySite(t)
	config := s.config(baseimage.Squashfs)
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: fleetMemMiB}
	config.Balloon = &firecracker.Balloon{StatsPollingIntervalS: 1}
	hash := s.keep(config)
	var random []string
	for i := range 2 { // the second one is served what the first has touched before it asks
		vm, g := s.served(smartvm.RestoreOptions{Lazy: true})
		random = append(random, output(t, g, "head -c 16 /dev/urandom | od -An -tx1"))
		if i == 0 {
			giveAndTake(t, vm, g, mib)
		}
		wantFile(t, g, hash)
		shutDown(t, vm)
		must(t, g.Close())
		must(t, vm.Cleanup(patient(t)))
	}
	// Debian's cloud kernel is built without VMGenID, so nothing is promised of these.
	t.Logf("random numbers of the two guests: %q", random)
}

// giveAndTake has a balloon take memory from a guest and give it back, for zeros.
func giveAndTake(t *testing.T, vm *smartvm.VM, g *guest.Guest, mib int) {
	t.Helper()
	total := memTotal(t, g)
	must(t, vm.UpdateBalloon(patient(t), mib))
	awaitBalloon(t, vm, mib, total-mib<<10)
	must(t, vm.UpdateBalloon(patient(t), 0))
	awaitBalloon(t, vm, 0, total)
	command := fmt.Sprintf("dd if=/dev/zero of=/tmp/zeros bs=1M count=%d 2>/dev/null; tr -d '\\0' </tmp/zeros | wc -c; wc -c </tmp/zeros; rm /tmp/zeros", mib)
	if got, want := output(t, g, command), fmt.Sprintf("0\n%d", mib<<20); got != want {
		t.Errorf("of the zeros in this memory, others, and bytes in all: %q, want %q", got, want)
	}
}

// hugePages has the host keep so many pages of 2 MiB apart, in addition to those that it has.
func hugePages(t *testing.T, n int) {
	t.Helper()
	const path = "/proc/sys/vm/nr_hugepages"
	text, err := os.ReadFile(path)
	must(t, err)
	before, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(path, text, 0o600)) })
	must(t, os.WriteFile(path, strconv.AppendInt(nil, int64(before+n), 10), 0o600))
	if text, err = os.ReadFile(path); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(before+n) {
		t.Fatalf("the kernel keeps %s huge pages, %v; want %d", text, err, before+n)
	}
}

func TestGuestOfHugePagesIsServedWithoutBeingAskedFor(t *testing.T) {
	claims(t, "S4.7, S4.8", "A guest whose memory is of huge pages comes back from a snapshot, in huge pages, by a page server that nobody asked for")
	const mib = 128
	s := lazySite(t)
	hugePages(t, mib/2)
	config := s.config(baseimage.Squashfs)
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: mib, HugePages: "2M"}
	hash := s.keep(config)
	vm, g := s.served(smartvm.RestoreOptions{})
	wantFile(t, g, hash)
	entry, err := s.manager.Inspect(patient(t), vm.ID())
	must(t, err)
	maps, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(entry.PID), "smaps"))
	must(t, err)
	if want := "KernelPageSize:     2048 kB"; !strings.Contains(string(maps), want) {
		t.Errorf("no mapping of its process has %s", want)
	}
	shutDown(t, vm)
	must(t, g.Close())
}
