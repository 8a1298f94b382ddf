package vmconfig_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestJailIsValidated(t *testing.T) {
	t.Parallel()
	named := []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "tap0"}}
	made := []firecracker.NetworkInterface{{IfaceID: "eth0"}}
	for name, tt := range map[string]struct {
		jail       vmconfig.Jail
		interfaces []firecracker.NetworkInterface
		fields     []string
	}{
		"empty":                 {},
		"everything":            {jail: vmconfig.Jail{NetNS: "/run/netns/a", MaxOpenFiles: 64, MaxFileSize: 1}, interfaces: named},
		"a namespace alone":     {jail: vmconfig.Jail{NetNS: "/run/netns/a"}},
		"TAP to be made there":  {jail: vmconfig.Jail{NetNS: "/run/netns/a"}, interfaces: made, fields: []string{"jail.netns"}},
		"namespace by its name": {jail: vmconfig.Jail{NetNS: "a"}, fields: []string{"jail.netns"}},
		"NUL in the path":       {jail: vmconfig.Jail{NetNS: "/a\x00b"}, fields: []string{"jail.netns"}},
		"all wrong": {
			jail: vmconfig.Jail{NetNS: "a", MaxOpenFiles: 63, MaxFileSize: -1}, fields: []string{"jail.netns", "jail.max_open_files", "jail.max_file_size"},
		},
		"negative files": {jail: vmconfig.Jail{MaxOpenFiles: -1}, fields: []string{"jail.max_open_files"}},
	} {
		c := vmconfig.Config{
			BootSource: firecracker.BootSource{KernelImagePath: "/k"}, NetworkInterfaces: tt.interfaces, Jail: &tt.jail,
		}
		var fields []string
		if e, wrong := errors.AsType[*errcode.Error](c.Validate()); wrong {
			for _, d := range e.Details {
				fields = append(fields, d.Field)
			}
		}
		if diff := cmp.Diff(tt.fields, fields); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
