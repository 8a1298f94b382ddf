package smartvm_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// abandon starts a VM with a manager that closes, as its owner's end would.
func (s *site) abandon(id string, config vmconfig.Config) {
	s.t.Helper()
	m, err := smartvm.New(s.opts)
	must(s.t, err)
	vm, err := m.CreateVM(id, config)
	must(s.t, err)
	must(s.t, vm.Start(patient(s.t)))
	if !strings.Contains(config.BootSource.BootArgs, hello.Stay) {
		ended(s.t, vm)
	}
	must(s.t, m.Close())
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	return paths
}

func TestGCRemovesWhatEndedWithoutOwnerAndNothingElse(t *testing.T) {
	s := bootSite(t)
	withDrive := s.config()
	withDrive.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "data", PathOnHost: s.image("disk", "x", 1<<20)}}}
	s.abandon("ended", withDrive)
	s.abandon("alive", s.config(hello.Stay))
	owned := s.boot()
	ended(t, owned)
	for _, dir := range []string{s.runtime + "/.new-1", s.runtime + "/.gone-x-1", s.data + "/staging/gone~00000000~00000000"} {
		must(t, os.Mkdir(dir, 0o700))
	}
	must(t, os.Mkdir(s.data+"/staging/somebody", 0o700))
	before := append(tree(t, s.runtime), tree(t, s.data)...)

	dry, err := s.GC(patient(t), smartvm.GCOptions{DryRun: true})
	must(t, err)
	if diff := cmp.Diff(before, append(tree(t, s.runtime), tree(t, s.data)...)); diff != "" {
		t.Errorf("a dry run changes: %s", diff)
	}
	removed, err := s.GC(patient(t), smartvm.GCOptions{})
	must(t, err)
	if diff := cmp.Diff(dry, removed); diff != "" || len(removed) != 4 || removed[0].ID != "ended" {
		t.Errorf("removed %+v, other than announced: %s", removed, diff)
	}
	if again, err := s.GC(patient(t), smartvm.GCOptions{}); err != nil || len(again) != 0 {
		t.Errorf("a second collection removes %+v, %v", again, err)
	}
	for path, want := range map[string]bool{
		s.runtime + "/ended": false, s.runtime + "/alive": true, owned.Dir(): true, s.data + "/staging/somebody": true,
	} {
		if exists(path) != want {
			t.Errorf("%s exists: %t, want %t", path, !want, want)
		}
	}
	vm, err := s.Adopt(patient(t), "alive")
	must(t, err)
	wantState(t, vm, smartvm.Running)
	must(t, os.Remove(s.data+"/staging/somebody"))
}

func TestGCLeavesALaunchedVMThatWasDetached(t *testing.T) {
	s := bootSite(t)
	vm := s.create("", s.config())
	must(t, vm.Launch(patient(t)))
	must(t, vm.Detach(patient(t), nil))
	if found, err := s.GC(patient(t), smartvm.GCOptions{}); err != nil || len(found) != 0 {
		t.Errorf("removed %+v, %v", found, err)
	}
	wantState(t, vm, smartvm.Configuring)
}

func TestInventoryListsEveryVMOfTheDirectory(t *testing.T) {
	s := bootSite(t)
	s.abandon("ended", s.config())
	vm := s.create("owned", s.config(hello.Stay))
	must(t, vm.Start(patient(t)))
	must(t, os.Mkdir(s.runtime+"/damaged", 0o700))
	write(t, s.runtime+"/damaged/ledger", []byte("garbage\n"))
	must(t, os.Mkdir(s.runtime+"/foreign", 0o700))
	list, err := s.Inventory(patient(t))
	must(t, err)
	if len(list) != 3 || list[0].ID != "damaged" || list[1].ID != "ended" || list[2].ID != "owned" {
		t.Fatalf("listed %+v", list)
	}
	if list[0].Problem == "" {
		t.Error("no problem with the damaged one")
	}
	if e := list[1]; e.State != smartvm.Stopped || e.Owner != "" || e.PID != 0 || e.Ended == nil {
		t.Errorf("ended: %+v", e)
	}
	e := list[2]
	if e.State != smartvm.Running || e.Owner == "" || e.PID == 0 || e.VCPUs != 1 || e.MemMiB != 16 || e.Firecracker != s.version().String() || len(e.Resources) < 2 {
		t.Errorf("owned: %+v", e)
	}
	if _, err := s.GC(patient(t), smartvm.GCOptions{}); codeOf(err) != "LEDGER_FAILED" {
		t.Errorf("collect = %v, want LEDGER_FAILED for the damaged one", err)
	}
	if exists(s.runtime + "/ended") {
		t.Error("the collection stopped at the damaged one")
	}
	must(t, os.RemoveAll(s.runtime+"/damaged"))
	must(t, os.Remove(s.runtime+"/foreign"))
}

func TestLookingAtAVMSaysNothingAboutItsEnd(t *testing.T) {
	var log strings.Builder
	s := bootSiteWith(t, smartvm.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	vm := s.boot(hello.Stay)
	for range 3 {
		entry, err := s.Inspect(patient(t), vm.ID())
		if err != nil || entry.State != smartvm.Running || entry.Ended != nil {
			t.Errorf("entry %+v, %v", entry, err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
}
