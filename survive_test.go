package smartvm_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// smallStore puts the store of snapshots on a file system of a few MiB.
func (s *site) smallStore(mib string) {
	s.t.Helper()
	hosttest.Need(s.t, hosttest.Root)
	dir := s.Snapshots().Dir()
	must(s.t, os.MkdirAll(dir, 0o700))
	must(s.t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+mib+"m"))
	s.t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			s.t.Error(err)
		}
	})
}

// refused wants that a snapshot finds no room, its guest goes on, and nothing is left of it.
func (s *site) refused(vm *smartvm.VM, o smartvm.SnapshotOptions, want string) {
	s.t.Helper()
	s.refusedAfter(vm, o, want, 1)
}

// refusedAfter does so when there are at most so many snapshots.
func (s *site) refusedAfter(vm *smartvm.VM, o smartvm.SnapshotOptions, want string, others int) {
	s.t.Helper()
	counts(s.t, vm, 0)
	_, err := vm.Snapshot(patient(s.t), "large", o)
	if e := wantCode(s.t, err, errcode.NoSpace); hintOf(err) == "" || !strings.Contains(e.Error(), want) {
		s.t.Errorf("got %v, hint %q, want %q in it", err, hintOf(err), want)
	}
	wantState(s.t, vm, smartvm.Running)
	counts(s.t, vm, lastCount(s.t, output(s.t, vm)))
	if all, err := s.Snapshots().List(); err != nil || len(all) > others {
		s.t.Errorf("in the store: %v, %v", all, err)
	}
	if left, err := filepath.Glob(filepath.Join(s.Snapshots().Dir(), ".new-*")); err != nil || len(left) > 0 {
		s.t.Errorf("left of it: %q, %v", left, err)
	}
}

func TestGuestGoesOnWhenThereIsNoRoomForItsSnapshot(t *testing.T) {
	s := bootSite(t)
	s.smallStore("56")
	config := s.config(hello.CountEach(5 * time.Millisecond))
	config.MachineConfig.MemSizeMiB = 48
	s.refused(s.bootConfig(config), smartvm.SnapshotOptions{}, "it needs 64.0 MiB") // it is not tried at all

	config = s.config(hello.CountEach(5 * time.Millisecond))
	disk := filepath.Join(s.files, "disk")
	write(t, disk, make([]byte, 28<<20))
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "data", PathOnHost: disk}}}
	s.refused(s.bootConfig(config), smartvm.SnapshotOptions{}, "drive data") // its memory has room

	config = s.config(hello.CountEach(5 * time.Millisecond))
	config.MachineConfig.TrackDirtyPages = true
	vm := s.bootConfig(config)
	_, err := vm.Snapshot(patient(t), "first", smartvm.SnapshotOptions{})
	must(t, err)
	ballast := filepath.Join(s.Snapshots().Dir(), "first", "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<20), 0o600); err == nil {
		t.Fatal("there was more room than expected")
	}
	s.refused(vm, smartvm.SnapshotOptions{Diff: true}, "the microVM state")
	must(t, os.Truncate(ballast, 0))
	_, err = vm.Snapshot(patient(t), "second", smartvm.SnapshotOptions{}) // the diff that failed has begun anew
	must(t, err)
	for _, name := range []string{"first", "second"} {
		must(t, s.Snapshots().Remove(patient(t), name))
	}
}

// A diff whose state has room, and whose memory has not.
func TestGuestGoesOnWhenThereIsNoRoomForTheMemoryAlone(t *testing.T) {
	s := bootSite(t)
	s.smallStore("56")
	store := s.Snapshots()
	config := s.config(hello.CountEach(5 * time.Millisecond))
	config.MachineConfig.MemSizeMiB, config.MachineConfig.TrackDirtyPages = 16, true
	vm := s.bootConfig(config)
	counts(t, vm, 0)
	for i, name := range []string{"first", "probe"} {
		_, err := vm.Snapshot(patient(t), name, smartvm.SnapshotOptions{Diff: i > 0})
		must(t, err)
	}
	state, memory := occupied(t, filepath.Join(store.Path("probe"), snapshot.StateFile)), occupied(t, filepath.Join(store.Path("probe"), snapshot.MemoryFile))
	if memory < 2*int64(os.Getpagesize()) {
		t.Fatalf("a diff has %d bytes of memory, too few to lack room", memory)
	}
	ballast := filepath.Join(store.Path("first"), "ballast")
	fillUp(t, ballast, state+int64(os.Getpagesize()))
	s.refusedAfter(vm, smartvm.SnapshotOptions{Diff: true}, "memory file", 2)
	must(t, os.Remove(ballast))
}

// occupied is how much of its file system a file takes, in bytes.
func occupied(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Blocks * 512
}

// fillUp makes a file that leaves so many bytes to others.
func fillUp(t *testing.T, path string, free int64) {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(filepath.Dir(path), &st))
	f, err := os.Create(path)
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Frsize-free))
	must(t, f.Close())
}

// What Firecracker says of a full disk has the same code where its own call is used.
func TestFilesOfASnapshotThatFindNoRoomAreNoSpace(t *testing.T) {
	s := bootSite(t)
	s.smallStore("4")
	vm := s.bootConfig(s.config(hello.CountEach(5 * time.Millisecond)))
	counts(t, vm, 0)
	must(t, vm.Pause(patient(t)))
	small, roomy := s.Snapshots().Dir(), s.files
	for file, params := range map[string]firecracker.SnapshotCreateParams{
		"memory": {SnapshotPath: filepath.Join(roomy, "state"), MemFilePath: filepath.Join(small, "memory")},
		"state":  {SnapshotPath: filepath.Join(small, "state"), MemFilePath: filepath.Join(roomy, "memory")},
	} {
		ballast := filepath.Join(small, "ballast")
		if file == "state" {
			fillUp(t, ballast, 0)
		}
		err := vm.CreateSnapshot(patient(t), params)
		if wantCode(t, err, errcode.NoSpace); hintOf(err) == "" {
			t.Errorf("%s: %v has no hint", file, err)
		}
		wantState(t, vm, smartvm.Paused)
		must(t, os.RemoveAll(ballast))
		must(t, os.RemoveAll(filepath.Join(small, "memory")))
	}
	must(t, vm.Resume(patient(t)))
	counts(t, vm, lastCount(t, output(t, vm)))
}

// TestOnlyCancelledRestoresVanish cancels some of many restores, each at a moment of its own.
func TestOnlyCancelledRestoresVanish(t *testing.T) {
	s := bootSite(t)
	config := s.whole()
	config.BootSource.BootArgs = hello.Stay
	_, err := s.bootConfig(config).Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	const clones, cancelled, atOnce = 100, 30, 16
	began := time.Now()
	probe, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{})
	must(t, err)
	took := time.Since(began)
	must(t, probe.Cleanup(patient(t)))

	vms, errs := make([]*smartvm.VM, clones), make([]error, clones)
	slots := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i := range clones {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			switch {
			case i == 0: // before it begins
				cancel()
			case i < cancelled:
				timer := time.AfterFunc(rand.N(took*atOnce/2), cancel)
				defer timer.Stop()
			}
			vms[i], errs[i] = s.Restore(ctx, "warm", smartvm.RestoreOptions{})
		})
	}
	group.Wait()
	gone := 0
	for i, vm := range vms {
		switch {
		case errs[i] == nil:
			wantState(t, vm, smartvm.Running)
		case i < cancelled && codeOf(errs[i]) == errcode.Cancelled:
			gone++
		default:
			t.Errorf("restore %d: %v", i, errs[i])
		}
	}
	t.Logf("%d were cancelled in time", gone)
	if gone < 2 {
		t.Error("none was cancelled while it ran")
	}
	entries, err := s.Inventory(patient(t))
	must(t, err)
	if len(entries) != 1+clones-gone {
		t.Errorf("there are %d VMs, want %d", len(entries), 1+clones-gone)
	}
}

func TestRestoreLeavesWhatIsInTheWayOfItsSocketAlone(t *testing.T) {
	s := bootSite(t)
	origin := s.bootConfig(s.whole())
	counts(t, origin, 0)
	_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	taken := filepath.Join(s.files, "elsewhere", "v.sock")
	must(t, os.Mkdir(filepath.Dir(taken), 0o700))
	write(t, taken, []byte("of somebody else"))
	_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{Vsock: taken})
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("with a socket that is there: %v", err)
	}
	if text, err := os.ReadFile(taken); err != nil || string(text) != "of somebody else" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestMemoryOfHugePagesIsNotRestoredWithoutAPageServer(t *testing.T) {
	s := bootSite(t) // its manager has none
	_, err := s.boot(hello.Stay).Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	manifest := filepath.Join(s.Snapshots().Path("warm"), snapshot.ManifestFile)
	text, err := os.ReadFile(manifest)
	must(t, err)
	huge := strings.Replace(string(text), `"mem_size_mib": 16`, `"mem_size_mib": 16, "huge_pages": "2M"`, 1)
	if huge == string(text) {
		t.Fatalf("no memory in %s", text)
	}
	write(t, manifest, []byte(huge))
	_, err = s.Restore(patient(t), "warm", smartvm.RestoreOptions{ID: "huge"})
	if e := wantCode(t, err, errcode.HostUnsupported); !strings.Contains(e.Error(), "huge pages") || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if _, err := os.Lstat(filepath.Join(s.RuntimeDir(), "huge")); err == nil {
		t.Error("something was made")
	}
}

// See misplacedSince.
func TestDiffThatFirecrackerWouldMisplaceIsRefused(t *testing.T) {
	for _, test := range []struct {
		version string
		mib     int
		want    smartvm.Code
	}{
		{"v1.13.0", 4096, ""}, {"v1.14.0", 3072, ""}, {"v1.14.0", 3073, errcode.HostUnsupported}, {"v1.14.1", 4096, errcode.HostUnsupported}, {"v1.14.2", 4096, ""},
	} {
		s := fakeSite(t, fake{Version: test.version})
		config := s.config(hello.Stay)
		config.MachineConfig.MemSizeMiB, config.MachineConfig.TrackDirtyPages = test.mib, true
		vm := s.bootConfig(config)
		must(t, vm.Pause(patient(t)))
		create, _ := s.snapshotParams()
		create.SnapshotType = firecracker.DiffSnapshot
		if err := vm.CreateSnapshot(patient(t), create); codeOf(err) != test.want {
			t.Errorf("%s, %d MiB: %v, want %q", test.version, test.mib, err, test.want)
		}
	}
}
