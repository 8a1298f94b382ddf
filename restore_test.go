package smartvm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// whole is the config of a counting VM with one device of each kind that a snapshot
// names by a path.
func (s *site) whole() vmconfig.Config {
	config := s.config(hello.CountEach(5 * time.Millisecond))
	config.Drives = []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "base", PathOnHost: s.image("base", "shared", 1<<20), IsReadOnly: true}},
		{Drive: firecracker.Drive{DriveID: "data", PathOnHost: s.image("data", "original", 1<<20)}},
	}
	config.Vsock = &firecracker.Vsock{GuestCID: 3, UDSPath: filepath.Join(s.files, "v.sock")}
	config.MMDSConfig, config.Metadata = nil, nil
	return config
}

// counts waits until the guest of a VM counts further than n.
func counts(t *testing.T, vm *smartvm.VM, n int) {
	t.Helper()
	screen := follow(t, vm, smartvm.ConsoleOptions{})
	for {
		screen.find(hello.CountPrefix)
		if got, err := strconv.Atoi(screen.find("\r\n")); err != nil || got > n {
			must(t, err)
			return
		}
	}
}

func TestGuestsOfOneSnapshotGoOnEachWithItsOwnFiles(t *testing.T) {
	s := bootSite(t)
	origin := s.bootConfig(s.whole())
	counts(t, origin, 0)
	disk := origin.Drives()[0].Path
	write(t, disk, []byte("of the moment"))
	m, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	wantState(t, origin, smartvm.Paused)
	n := lastCount(t, settled(t, origin))
	must(t, origin.Resume(patient(t)))
	write(t, disk, []byte("of later"))
	counts(t, origin, n)
	told := m.Format != "" || s.version().Compare(firecracker.Version{Major: 1, Minor: 15}) >= 0 // since then the state says it to Firecracker alone
	if m.Type != snapshot.Full || !told || m.Host.CPUVendor == "" || len(m.Drives) != 2 || m.Drives[0].Copy != "" {
		t.Errorf("manifest %+v", m)
	}

	const clones = 5
	vms := make([]*smartvm.VM, clones)
	var group sync.WaitGroup
	for i := range vms {
		group.Go(func() {
			var err error
			if vms[i], err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for i, vm := range vms {
		counts(t, vm, n)
		own := vm.Drives()[0].Path
		if text, err := os.ReadFile(own); err != nil || !strings.HasPrefix(string(text), "of the moment") {
			t.Errorf("disk of %s: %.20q, %v", vm.ID(), text, err)
		}
		write(t, own, []byte(fmt.Sprint("clone ", i)))
		uses := s.inUse(vm)
		if !sameFile(t, uses["data"], own) || !sameFile(t, uses["base"], filepath.Join(s.files, "base")) {
			t.Errorf("%s uses %v", vm.ID(), uses)
		}
		if _, err := os.Stat(filepath.Join(vm.Dir(), "v.sock")); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, s.Snapshots().Remove(patient(t), "warm"), errcode.SnapshotInUse)
	for _, vm := range append(vms, origin) {
		must(t, vm.Cleanup(patient(t)))
	}
	must(t, s.Snapshots().Remove(patient(t), "warm"))
	_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{})
	wantCode(t, err, errcode.SnapshotNotFound)
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := os.Stat(a)
	must(t, err)
	second, err := os.Stat(b)
	must(t, err)
	return os.SameFile(first, second)
}

func TestRestoreNeedsNothingOfTheBoot(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.BootSource.KernelImagePath = filepath.Join(s.files, "kernel")
	text, err := os.ReadFile(s.kernel)
	must(t, err)
	write(t, config.BootSource.KernelImagePath, text)
	origin := s.bootConfig(config)
	_, err = origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	wantState(t, origin, smartvm.Running)
	must(t, os.Remove(config.BootSource.KernelImagePath))
	vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "again", Paused: true})
	must(t, err)
	wantState(t, vm, smartvm.Paused)
	must(t, vm.Resume(patient(t)))
	_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "again"})
	wantCode(t, err, smartvm.VMExists)
}

// TestClockOfARestoredGuestIsMovedOnWhereFirecrackerCan is about what is asked of
// Firecracker; a guest of the lab reads the clock.
func TestClockOfARestoredGuestIsMovedOnWhereFirecrackerCan(t *testing.T) {
	s := bootSite(t)
	origin := s.bootConfig(s.whole())
	counts(t, origin, 0)
	_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "late", ClockRealtime: true})
	if firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{ClockRealtime: true}).Check(s.version()) == nil {
		must(t, err)
		counts(t, vm, 0)
		return
	}
	if e := wantCode(t, err, errcode.UnsupportedVersion); !strings.Contains(e.Error(), "clock_realtime") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.RuntimeDir(), "late")); err == nil {
		t.Error("something was made")
	}
}

func TestSnapshotNameIsTakenOnce(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.CountEach(5 * time.Millisecond))
	counts(t, vm, 0)
	_, err := vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	_, err = vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	wantCode(t, err, errcode.SnapshotExists)
	_, err = vm.Snapshot(patient(t), "../warm", smartvm.SnapshotOptions{})
	wantCode(t, err, smartvm.InvalidConfig)
	wantState(t, vm, smartvm.Running)
	counts(t, vm, lastCount(t, output(t, vm)))
}

func TestDiffFollowsASnapshotOfTheStore(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.CountEach(5 * time.Millisecond))
	untracked := s.bootConfig(config)
	_, err := untracked.Snapshot(patient(t), "diff", smartvm.SnapshotOptions{Diff: true})
	wantCode(t, err, smartvm.InvalidConfig)
	config.MachineConfig.TrackDirtyPages = true
	vm := s.bootConfig(config)
	_, err = vm.Snapshot(patient(t), "diff", smartvm.SnapshotOptions{Diff: true})
	if e := wantCode(t, err, smartvm.InvalidConfig); !strings.Contains(e.Error(), "follows") {
		t.Error(err)
	}
	full, err := vm.Snapshot(patient(t), "full", smartvm.SnapshotOptions{})
	must(t, err)
	other, err := s.another().Attach(patient(t), vm.ID()) // another process may take it
	must(t, err)
	diff, err := other.Snapshot(patient(t), "diff", smartvm.SnapshotOptions{Diff: true})
	must(t, err)
	if diff.Parent == nil || diff.Parent.ID != full.ID {
		t.Errorf("parent %+v, want %s", diff.Parent, full.ID)
	}
	// One that is in no store has all that changed before it.
	must(t, vm.Pause(patient(t)))
	create, _ := s.snapshotParams()
	must(t, vm.CreateSnapshot(patient(t), create))
	_, err = vm.Snapshot(patient(t), "next", smartvm.SnapshotOptions{Diff: true})
	wantCode(t, err, smartvm.InvalidConfig)
	wantState(t, vm, smartvm.Paused)
}

func TestSnapshotOfAnotherKindOfHostIsRefusedBeforeAnythingIsMade(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	_, err := vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	manifest := filepath.Join(s.Snapshots().Path("warm"), snapshot.ManifestFile)
	text, err := os.ReadFile(manifest)
	must(t, err)
	changed := strings.Replace(string(text), `"cpuVendor": "`, `"cpuVendor": "Other`, 1)
	write(t, manifest, []byte(strings.Replace(changed, `"cpuFlags": [`, `"cpuFlags": ["unheard",`, 1)))
	before, err := filepath.Glob(filepath.Join(s.RuntimeDir(), "*"))
	must(t, err)
	_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "again"})
	e := wantCode(t, err, errcode.SnapshotMismatch)
	if len(e.Details) != 2 || e.Details[0].Field != "host.cpuVendor" || !strings.Contains(e.Details[1].Message, "unheard") {
		t.Errorf("details %+v", e.Details)
	}
	if after, err := filepath.Glob(filepath.Join(s.RuntimeDir(), "*")); err != nil || !slices.Equal(after, before) {
		t.Errorf("in the runtime directory: %s, before %s", after, before)
	}
}

func TestChangedMemoryIsNotRestored(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	for name, damage := range map[string]func(path string) error{
		"truncated": func(path string) error { return os.Truncate(path, 1<<20) },
		"deleted":   os.Remove,
		"written": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{1}, 4096)
			}
			if err == nil {
				err = f.Close()
			}
			return err
		},
	} {
		_, err := vm.Snapshot(patient(t), name, smartvm.SnapshotOptions{})
		must(t, err)
		path := filepath.Join(s.Snapshots().Path(name), snapshot.MemoryFile)
		must(t, os.Chmod(path, 0o600))
		must(t, damage(path))
		_, err = s.Restore(patient(t), name, smartvm.RestoreOptions{})
		if e := wantCode(t, err, errcode.InvalidSnapshot); len(e.Details) != 1 || e.Details[0].Field != snapshot.MemoryFile {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
