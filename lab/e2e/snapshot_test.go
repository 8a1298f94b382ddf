package e2e_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestSnapshotsBringGuestsBackAsTheyWere(t *testing.T) {
	claims(t, "S4.7, S4.8", "A guest from a snapshot goes on where it was: its processes, its memory, its disk, its console")
	claims(t, "S4.7", "A diff snapshot has what has changed since the full one only, and over that one it is a full one")
	claims(t, "S4.7", "A diff snapshot of a VM that does not track dirty pages is refused, and the error says what to do")
	claims(t, "S4.6, S4.8", "A guest from a snapshot can be given a drive of its own before it goes on")
	s := newSite(t, smartvm.Options{})
	dir := t.TempDir()
	config := s.config(baseimage.Squashfs)
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128, TrackDirtyPages: true}
	config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: disk(t, "", 1)}})
	full, diff := snapshot{filepath.Join(dir, "full"), t}, snapshot{filepath.Join(dir, "diff"), t}

	origin, g := s.boot(config)
	keepMind(t, g)
	setMind(t, g, "early")
	if err := origin.CreateSnapshot(patient(t), full.create("")); !errors.Is(err, smartvm.InvalidState) {
		t.Errorf("a snapshot of a guest that runs gives %v", err)
	}
	full.take(origin, firecracker.FullSnapshot)
	must(t, origin.Resume(patient(t)))
	setMind(t, g, "late")
	diff.take(origin, firecracker.DiffSnapshot)
	if all, few := size(t, full.memory()), size(t, diff.memory()); few == 0 || few > all/4 {
		t.Errorf("the diff snapshot has %d KiB of memory, the full one %d", few>>10, all>>10)
	}
	must(t, origin.Stop(patient(t), smartvm.StopOptions{}))

	// One of another id: the file of the drive is where the snapshot expects it, but
	// the guest goes on with another one.
	merged := snapshot{filepath.Join(dir, "merged"), t}
	merged.merge(full, diff)
	config.Drives[1].PathOnHost = merged.drive()
	clone := s.load("", config, merged.load(false))
	refuseDiff(t, clone, merged)
	must(t, clone.UpdateDrive(patient(t), "disk", clone.Drives()[0].Path))
	must(t, clone.Resume(patient(t)))
	lives(t, clone, "late")
	must(t, clone.Cleanup(patient(t)))

	// The same VM again, on the drive as it was then.
	must(t, origin.Cleanup(patient(t)))
	s.manager.RemoveVM(origin.ID())
	config.Drives[1].PathOnHost = full.drive()
	lives(t, s.load(origin.ID(), config, full.load(true)), "early")
}

// keepMind starts a process in the guest that keeps a word in a variable: it says
// the word to who asks, and takes another one.
func keepMind(t *testing.T, g *guest.Guest) {
	t.Helper()
	output(t, g, `mkfifo /tmp/ask /tmp/answer
		(while read w </tmp/ask; do [ $w = ? ] || word=$w; echo $word >/tmp/answer; done) >/dev/null 2>&1 &`)
}

// setMind makes the guest remember a word, in the memory of a process and on its disk.
func setMind(t *testing.T, g *guest.Guest, word string) {
	t.Helper()
	output(t, g, "echo "+word+" >/tmp/ask; cat /tmp/answer; echo "+word+" | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null")
}

// wantMind wants a guest that remembers a word. What is read is on the disk, and not
// what the guest has in its memory of it.
func wantMind(t *testing.T, g *guest.Guest, word string) {
	t.Helper()
	got := strings.Fields(output(t, g, "echo ? >/tmp/ask; cat /tmp/answer; blockdev --flushbufs /dev/vdb; head -n 1 /dev/vdb"))
	if !slices.Equal(got, []string{word, word}) {
		t.Errorf("the guest remembers %q, want %q of its memory and its disk", got, word)
	}
}

// lives wants a guest that remembers a word, takes another one, and shuts down.
func lives(t *testing.T, vm *smartvm.VM, word string) {
	t.Helper()
	g, err := guest.Attach(patient(t), vm)
	must(t, err)
	defer g.Close()
	wantMind(t, g, word)
	setMind(t, g, "new")
	wantMind(t, g, "new")
	text, err := os.ReadFile(vm.Drives()[0].Path)
	must(t, err)
	if !strings.HasPrefix(string(text), "new\n") {
		t.Errorf("the drive of %s has %.16q", vm.ID(), text)
	}
	shutDown(t, vm)
}

// refuseDiff wants that no diff snapshot can be taken.
func refuseDiff(t *testing.T, vm *smartvm.VM, s snapshot) {
	t.Helper()
	err := vm.CreateSnapshot(patient(t), snapshot{s.path + "-refused", t}.create(firecracker.DiffSnapshot))
	e, known := errors.AsType[*smartvm.Error](err)
	if !known || e.Code != smartvm.InvalidConfig || !strings.Contains(e.Hint, "track_dirty_pages") || vm.State() != smartvm.Paused {
		t.Errorf("a diff snapshot without tracking gives %v, and a VM that is %s", err, vm.State())
	}
}

// load starts a VM with a snapshot instead of a boot. It is cleaned up with the test.
func (s *site) load(id string, config vmconfig.Config, params firecracker.SnapshotLoadParams) *smartvm.VM {
	s.t.Helper()
	vm, err := s.manager.CreateVM(id, config)
	must(s.t, err)
	s.t.Cleanup(func() {
		if err := vm.Cleanup(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	})
	must(s.t, vm.Launch(patient(s.t)))
	must(s.t, vm.LoadSnapshot(patient(s.t), params))
	return vm
}

// snapshot is the files of one: what Firecracker writes, and a copy of the drive.
type snapshot struct {
	path string
	t    *testing.T
}

func (s snapshot) state() string  { return s.path + ".state" }
func (s snapshot) memory() string { return s.path + ".memory" }
func (s snapshot) drive() string  { return s.path + ".drive" }

func (s snapshot) create(kind firecracker.SnapshotType) firecracker.SnapshotCreateParams {
	return firecracker.SnapshotCreateParams{SnapshotType: kind, SnapshotPath: s.state(), MemFilePath: s.memory()}
}

func (s snapshot) load(resume bool) firecracker.SnapshotLoadParams {
	return firecracker.SnapshotLoadParams{
		SnapshotPath: s.state(), MemBackend: &firecracker.MemoryBackend{BackendType: "File", BackendPath: s.memory()}, ResumeVM: resume,
	}
}

// take pauses a VM and takes a snapshot of it.
func (s snapshot) take(vm *smartvm.VM, kind firecracker.SnapshotType) {
	s.t.Helper()
	must(s.t, vm.Pause(patient(s.t)))
	must(s.t, vm.CreateSnapshot(patient(s.t), s.create(kind)))
	copyData(s.t, s.drive(), vm.Drives()[0].Path)
}

// merge puts a diff snapshot over the full one that it came after.
func (s snapshot) merge(full, diff snapshot) {
	s.t.Helper()
	copyData(s.t, s.memory(), full.memory())
	copyData(s.t, s.memory(), diff.memory())
	copyData(s.t, s.state(), diff.state())
	copyData(s.t, s.drive(), diff.drive())
}

// copyData copies what a file has over another one; where it has a hole, the other
// one stays as it is.
func copyData(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
	must(t, err)
	for end := int64(0); ; {
		start, err := unix.Seek(int(in.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // there is no more
			break
		}
		must(t, err)
		end, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		must(t, err)
		_, err = io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start))
		must(t, err)
	}
	info, err := in.Stat()
	must(t, err)
	must(t, errors.Join(out.Truncate(info.Size()), out.Close())) // it may end with a hole
}

// size is how much room a file takes on its disk, in bytes.
func size(t *testing.T, path string) int64 {
	t.Helper()
	var stat unix.Stat_t
	must(t, unix.Stat(path, &stat))
	return stat.Blocks * 512
}
