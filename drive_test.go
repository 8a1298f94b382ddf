package smartvm_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// inUse returns the file that Firecracker has for each drive.
func (s *site) inUse(vm *smartvm.VM) map[string]string {
	t := s.t
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/cwd/", s.pid(vm))
	client, err := vm.Client()
	must(t, err)
	config, err := client.VMConfig(patient(t))
	must(t, err)
	files := map[string]string{}
	for _, d := range config.Drives {
		files[d.DriveID] = dir + d.PathOnHost
	}
	return files
}

func TestDriveIsCopiedUnlessItMayPersist(t *testing.T) {
	tests := []struct {
		name      string
		readOnly  bool
		ephemeral *bool
		persist   bool
		copied    bool
	}{
		{name: "writable", copied: true},
		{name: "writable, kept", ephemeral: new(false)},
		{name: "writable, persistent by default", persist: true},
		{name: "writable, persistent by default, ephemeral", persist: true, ephemeral: new(true), copied: true},
		{name: "read-only", readOnly: true},
		{name: "read-only, ephemeral", readOnly: true, ephemeral: new(true), copied: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := bootSiteWith(t, smartvm.Options{PersistWritableDrives: tt.persist})
			source := s.image("disk", "original", 1<<20)
			config := s.config(hello.Stay)
			config.Drives = []vmconfig.Drive{{
				Drive:     firecracker.Drive{DriveID: "data", PathOnHost: source, IsReadOnly: tt.readOnly},
				Ephemeral: tt.ephemeral,
			}}
			vm := s.bootConfig(config)
			path := s.inUse(vm)["data"]
			if !tt.copied {
				if !same(t, path, source) || len(vm.Drives()) != 0 {
					t.Errorf("it uses %s, staged %v, want the source", path, vm.Drives())
				}
				return
			}
			drive := vm.Drives()[0]
			want := []smartvm.StagedDrive{{ID: "data", Source: source, Path: drive.Path, Method: drive.Method}}
			if diff := cmp.Diff(want, vm.Drives()); diff != "" || !same(t, path, drive.Path) || same(t, path, source) {
				t.Errorf("uses %s; %s", path, diff)
			}
			path = drive.Path
			checkCopy(t, source, path)
			must(t, vm.Cleanup(patient(t)))
			if exists(path) {
				t.Error("the copy is there after the clean-up")
			}
		})
	}
}

// same reports whether two paths lead to one file.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	must(t, err)
	other, err := os.Stat(b)
	must(t, err)
	return os.SameFile(one, other)
}

// checkCopy demands that a copy is equal and private.
func checkCopy(t *testing.T, source, path string) {
	t.Helper()
	want, err := os.ReadFile(source)
	must(t, err)
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != string(want) {
		t.Error("the copy differs")
	}
	write(t, path, []byte("changed"))
	if again, err := os.ReadFile(source); err != nil || string(again) != string(want) {
		t.Errorf("the source changed with its copy (%v)", err)
	}
}

func TestMissingFilesAreReportedAllAtOnce(t *testing.T) {
	s := fakeSite(t, fake{})
	config := s.config()
	config.BootSource.KernelImagePath = "/no/kernel"
	config.Drives = []vmconfig.Drive{
		{Drive: firecracker.Drive{DriveID: "a", PathOnHost: "/no/a"}},
		{Drive: firecracker.Drive{DriveID: "b", PathOnHost: s.files}},
	}
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "no-such-tap"}}
	vm := s.create("", config)
	err := vm.Start(patient(t))
	wantCode(t, err, smartvm.InvalidConfig)
	var fields []string
	for _, e := range errorsIn(err) {
		for _, d := range e.Details {
			fields = append(fields, d.Field)
		}
	}
	want := []string{"boot-source.kernel_image_path", "drives[0].path_on_host", "drives[1].path_on_host", "network-interfaces[0].host_dev_name"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
	wantState(t, vm, smartvm.Failed)
}

func TestUpdateDriveGivesTheGuestAnotherFile(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "data", PathOnHost: s.image("one", "1", 1<<20)}}}
	vm := s.bootConfig(config)
	two := s.image("two", "2", 2<<20)
	t.Chdir(s.files)
	for _, path := range []string{two, filepath.Base(two)} {
		must(t, vm.UpdateDrive(patient(t), "data", path))
		if got := s.inUse(vm)["data"]; !same(t, got, two) {
			t.Errorf("update to %s: it uses %s, want %s", path, got, two)
		}
	}
	wantCode(t, vm.UpdateDrive(patient(t), "data", "/no/such/file"), smartvm.InvalidConfig)
	e := wantCode(t, vm.UpdateDrive(patient(t), "other", two), smartvm.APIError)
	if e.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", e.StatusCode)
	}
}
