package smartvm_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/hello"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// plainConfig is valid and needs nothing on the host.
func plainConfig() vmconfig.Config {
	return vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: "/kernel", BootArgs: "one"},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 16},
		Metadata:      firecracker.Metadata{"a": map[string]any{"b": "c"}},
	}
}

func TestNumberOfClonesIsBoundedBeforeTheSnapshotIsLookedAt(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	for n, want := range map[int]string{-1: "-1 is not in 1..10000", 0: "0 is not in 1..10000", 10001: "10001 is not in 1..10000"} {
		_, err := s.Clone(t.Context(), "none", n, smartvm.CloneOptions{})
		e := wantCode(t, err, smartvm.InvalidConfig)
		if diff := cmp.Diff([]errcode.Detail{{Field: "n", Message: want}}, e.Details); diff != "" {
			t.Errorf("%d clones (-want +got):\n%s", n, diff)
		}
	}
}

func TestManagerKnowsItsVMsByTheirIDs(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	for _, id := range []string{"b", "a"} {
		s.create(id, plainConfig())
	}
	if got := s.VMs(); !slices.Equal(got, []string{"a", "b"}) || s.Count() != 2 {
		t.Errorf("VMs %v, count %d", got, s.Count())
	}
	_, err := s.CreateVM("a", plainConfig())
	if e := wantCode(t, err, smartvm.VMExists); e.Subject != "a" || e.Hint == "" {
		t.Errorf("subject %q, hint %q", e.Subject, e.Hint)
	}
	if !s.RemoveVM("a") || s.RemoveVM("a") {
		t.Error("a VM can be removed once")
	}
	if _, ok := s.VM("a"); ok {
		t.Error("the removed one is known")
	}
	s.create("a", plainConfig())
	first, second := s.create("", plainConfig()), s.create("", plainConfig())
	if first.ID() == second.ID() {
		t.Errorf("both are %s", first.ID())
	}
}

func TestIDThatCouldLeaveTheDirectoryIsRefused(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	for _, id := range []string{"..", "a/b", "a.b", "ä", "a b", "a\x00", strings.Repeat("a", 65), "~", "_"} {
		if _, err := s.CreateVM(id, plainConfig()); codeOf(err) != smartvm.InvalidConfig {
			t.Errorf("id %q: %v, want INVALID_CONFIG", id, err)
		}
	}
	if s.Count() != 0 {
		t.Errorf("registered %v", s.VMs())
	}
}

func TestIDOfAnotherManagersVMIsTaken(t *testing.T) {
	s := fakeSite(t, fake{})
	vm := s.create("same", s.config())
	must(t, vm.Start(patient(t)))
	other := s.another()
	rival, err := other.CreateVM("same", s.config())
	must(t, err)
	err = rival.Start(patient(t))
	if wantCode(t, err, smartvm.VMExists); hintOf(err) == "" {
		t.Errorf("no hint in %v", err)
	}
	must(t, rival.Cleanup(patient(t)))
	wantState(t, vm, smartvm.Running)
	if !exists(vm.SocketPath()) {
		t.Error("the rival's clean-up took the socket")
	}
}

func TestConfigIsCopiedInAndOut(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	given := plainConfig()
	vm := s.create("", given)
	spoil := func(c *vmconfig.Config) {
		c.BootSource.BootArgs = "two"
		c.MachineConfig.MemSizeMiB = 9
		c.Metadata["a"].(map[string]any)["b"] = "changed"
	}
	spoil(&given)
	spoil(vm.Config())
	if diff := cmp.Diff(plainConfig(), *vm.Config()); diff != "" {
		t.Error(diff)
	}
}

func TestStartChangesNeitherConfig(t *testing.T) {
	s := fakeSite(t, fake{})
	given := s.config()
	given.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "d", PathOnHost: s.image("disk", "x", 1<<20)}}}
	before := given.Clone()
	vm := s.create("", given)
	must(t, vm.Start(patient(t)))
	if diff := cmp.Diff(before, &given) + cmp.Diff(before, vm.Config()); diff != "" {
		t.Error(diff)
	}
}

func TestSocketPathThatIsTooLongIsRefusedAtOnce(t *testing.T) {
	dir := shortDir(t)
	dir = filepath.Join(dir, strings.Repeat("d", 107-len(dir)-len("//vm/firecracker.sock")))
	s := newSite(t, smartvm.Options{RuntimeDir: dir})
	s.create("vm", plainConfig()) // exactly 107 bytes
	_, err := s.CreateVM("vm2", plainConfig())
	e := wantCode(t, err, "PATH_TOO_LONG")
	if !strings.Contains(e.Hint, dir) || !strings.Contains(e.Hint, "by 1 bytes") {
		t.Errorf("hint %q", e.Hint)
	}
}

func TestEveryMistakeOfAConfigIsReported(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	config := plainConfig()
	config.BootSource.KernelImagePath = ""
	config.MachineConfig.VCPUCount = 33
	_, err := s.CreateVM("vm", config)
	if e := wantCode(t, err, smartvm.InvalidConfig); len(e.Details) != 2 {
		t.Errorf("details %v", e.Details)
	}
}

func TestCleanupLetsGoOfWhatTheManagerDoesNotOwn(t *testing.T) {
	s := bootSite(t)
	first, err := smartvm.New(s.opts)
	must(t, err)
	detached, err := first.CreateVM("detached", s.config(hello.Stay))
	must(t, err)
	must(t, detached.Start(patient(t)))
	must(t, detached.Detach(patient(t), nil))
	s.boot(hello.Stay) // of another manager
	for _, id := range s.VMs() {
		_, err := first.Attach(patient(t), id)
		must(t, err)
	}
	must(t, first.Cleanup(patient(t)))
	if n := first.Count(); n != 0 {
		t.Errorf("it still has %d VMs", n)
	}
	entries, err := s.Inventory(patient(t))
	must(t, err)
	for _, e := range entries {
		if e.State != smartvm.Running {
			t.Errorf("%s is %s, want that it runs on", e.ID, e.State)
		}
	}
	if len(entries) != 2 {
		t.Errorf("%d VMs are left, want both", len(entries))
	}
	must(t, first.Close())
	heir, err := s.Adopt(patient(t), "detached")
	must(t, err)
	must(t, heir.Cleanup(patient(t)))
}
