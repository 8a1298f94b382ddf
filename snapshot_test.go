package smartvm_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
)

func (s *site) snapshotParams() (firecracker.SnapshotCreateParams, firecracker.SnapshotLoadParams) {
	state, mem := filepath.Join(s.files, "state"), filepath.Join(s.files, "mem")
	return firecracker.SnapshotCreateParams{SnapshotPath: state, MemFilePath: mem},
		firecracker.SnapshotLoadParams{
			SnapshotPath: state, MemBackend: &firecracker.MemoryBackend{BackendType: "File", BackendPath: mem}, ResumeVM: true,
		}
}

// Of what Firecracker maps for the guest to write, without being a drive, there is one for all.
func TestWritablePersistentMemoryIsInNoSnapshot(t *testing.T) {
	s := fakeSite(t, fake{Version: "v1.16.1"})
	config := s.config(hello.Stay)
	file := filepath.Join(s.files, "pmem")
	write(t, file, make([]byte, 2<<20))
	config.Pmem = []firecracker.Pmem{{ID: "shared", PathOnHost: file, ReadOnly: true}, {ID: "own", PathOnHost: file}}
	vm := s.bootConfig(config)
	_, err := vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	if e := wantCode(t, err, smartvm.InvalidConfig); !strings.Contains(e.Error(), "pmem[1]") || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	wantState(t, vm, smartvm.Running)
	if all, err := s.Snapshots().List(); err != nil || len(all) > 0 {
		t.Errorf("in the store: %v, %v", all, err)
	}
}

func TestLoadedSnapshotContinuesTheCounter(t *testing.T) {
	s := bootSite(t)
	create, load := s.snapshotParams()
	vm := s.boot(hello.CountEach(5 * time.Millisecond))
	follow(t, vm, smartvm.ConsoleOptions{}).find(hello.CountPrefix + "5\r\n")
	wantCode(t, vm.CreateSnapshot(patient(t), create), smartvm.InvalidState)
	must(t, vm.Pause(patient(t)))
	must(t, vm.CreateSnapshot(patient(t), create))
	n := lastCount(t, settled(t, vm))
	must(t, vm.Stop(patient(t), smartvm.StopOptions{}))

	clone := s.create("", s.config())
	wantCode(t, clone.LoadSnapshot(patient(t), load), smartvm.NoClient)
	wantState(t, clone, smartvm.Created)
	must(t, clone.Launch(patient(t)))
	must(t, clone.LoadSnapshot(patient(t), load))
	wantState(t, clone, smartvm.Running)
	screen := follow(t, clone, smartvm.ConsoleOptions{})
	screen.find(hello.CountPrefix)
	screen.find("\r\n")
	if got := lastCount(t, output(t, clone)); got <= n {
		t.Errorf("the clone counts %d after %d", got, n)
	}
	wantCode(t, clone.LoadSnapshot(patient(t), load), smartvm.InvalidState)
}

func TestLoadedSnapshotStaysPausedUnlessResumed(t *testing.T) {
	s := bootSite(t)
	create, load := s.snapshotParams()
	load.ResumeVM = false
	vm := s.boot(hello.Stay)
	must(t, vm.Pause(patient(t)))
	must(t, vm.CreateSnapshot(patient(t), create))
	clone := s.create("", s.config())
	must(t, clone.Launch(patient(t)))
	must(t, clone.LoadSnapshot(patient(t), load))
	wantState(t, clone, smartvm.Paused)
	must(t, clone.Resume(patient(t)))
}

func TestDiffSnapshotNeedsDirtyPageTracking(t *testing.T) {
	for _, track := range []bool{false, true} {
		s := bootSite(t)
		create, _ := s.snapshotParams()
		create.SnapshotType = firecracker.DiffSnapshot
		config := s.config(hello.Stay)
		config.MachineConfig.TrackDirtyPages = track
		vm := s.bootConfig(config)
		must(t, vm.Pause(patient(t)))
		err := vm.CreateSnapshot(patient(t), create)
		switch {
		case track:
			must(t, err)
		case hintOf(err) == "":
			t.Errorf("no hint in %v", err)
			fallthrough
		default:
			wantCode(t, err, smartvm.InvalidConfig)
			wantState(t, vm, smartvm.Paused)
		}
	}
}

// The load says it anew, and other processes do not know what it said.
func TestLoadedVMTracksDirtyPagesIfItsLoadSaysSo(t *testing.T) {
	for _, track := range []bool{false, true} {
		s := bootSite(t)
		create, load := s.snapshotParams()
		load.EnableDiffSnapshots, load.ResumeVM = track, false
		config := s.config(hello.Stay)
		config.MachineConfig.TrackDirtyPages = !track
		vm := s.bootConfig(config)
		must(t, vm.Pause(patient(t)))
		must(t, vm.CreateSnapshot(patient(t), create))
		clone := s.create("", config)
		must(t, clone.Launch(patient(t)))
		must(t, clone.LoadSnapshot(patient(t), load))
		other, err := s.another().Attach(patient(t), clone.ID())
		must(t, err)
		diff := firecracker.SnapshotCreateParams{
			SnapshotType: firecracker.DiffSnapshot, SnapshotPath: create.SnapshotPath + "-diff", MemFilePath: create.MemFilePath + "-diff",
		}
		for _, v := range []*smartvm.VM{clone, other} {
			if err := v.CreateSnapshot(patient(t), diff); track {
				must(t, err)
			} else if e := wantCode(t, err, smartvm.InvalidConfig); e.Hint == "" {
				t.Errorf("no hint in %v", err)
			}
		}
	}
}

func TestFailedLoadEndsTheVM(t *testing.T) {
	s := bootSite(t)
	_, load := s.snapshotParams()
	write(t, load.SnapshotPath, []byte("not a snapshot"))
	write(t, load.MemBackend.BackendPath, nil)
	vm := s.create("", s.config())
	must(t, vm.Launch(patient(t)))
	err := vm.LoadSnapshot(patient(t), load)
	if e := wantCode(t, err, smartvm.APIError); e.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", e.StatusCode)
	}
	ended(t, vm)
	wantState(t, vm, smartvm.Failed)
	must(t, vm.Cleanup(patient(t)))
}

// Firecracker works in the VM's directory, which goes with the VM.
func TestRelativeSnapshotPathsAreThoseOfTheCaller(t *testing.T) {
	s := bootSite(t)
	t.Chdir(s.files)
	create := firecracker.SnapshotCreateParams{SnapshotPath: "state", MemFilePath: "mem"}
	load := firecracker.SnapshotLoadParams{
		SnapshotPath: "state", MemBackend: &firecracker.MemoryBackend{BackendType: "File", BackendPath: "mem"}, ResumeVM: true,
	}
	vm := s.boot(hello.Stay)
	must(t, vm.Pause(patient(t)))
	must(t, vm.CreateSnapshot(patient(t), create))
	must(t, vm.Cleanup(patient(t)))
	for _, name := range []string{"state", "mem"} {
		if !exists(filepath.Join(s.files, name)) {
			t.Errorf("no %s beside the caller", name)
		}
	}
	clone := s.create("", s.config())
	must(t, clone.Launch(patient(t)))
	must(t, clone.LoadSnapshot(patient(t), load))
}
