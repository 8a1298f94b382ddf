package smartvm_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// Firecracker ignores keys that it does not know, but only at the top of its file.
func TestConfigFileHasNothingThatIsSmartvmsOwn(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	config := s.config()
	vm := s.create("", config)
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "root", PathOnHost: "/x"}, Ephemeral: new(true)}}
	config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	config.Network = &vmconfig.Network{}
	config.Limits = &vmconfig.Limits{CPU: 1, MemoryMiB: 64, IO: []vmconfig.IOLimit{{ReadOpsPerSecond: 1}}}
	config.Metadata = firecracker.Metadata{"a": "b"}
	config.FirecrackerVersion = firecracker.Version{Major: 1, Minor: 12}
	data, err := vm.ConfigFile(config)
	must(t, err)
	var file map[string]any
	must(t, json.Unmarshal(data, &file))
	want := []string{"boot-source", "drives", "machine-config", "network-interfaces"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(file))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	drive := map[string]any{"drive_id": "root", "path_on_host": "/x", "is_root_device": false}
	if diff := cmp.Diff([]any{drive}, file["drives"]); diff != "" {
		t.Errorf("drives (-want +got):\n%s", diff)
	}
}
