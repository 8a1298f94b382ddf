package smartvm

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// Operations returns the table of what is allowed when, for tests that try all of it.
func Operations() map[string][]State {
	table := make(map[string][]State, len(allowed))
	for op, states := range allowed {
		table[string(op)] = append([]State(nil), states...)
	}
	return table
}

// ConfigFile returns what Firecracker would be given to boot the VM with this config.
func (v *VM) ConfigFile(config vmconfig.Config) (data []byte, err error) {
	if err := os.Mkdir(v.Dir(), 0o700); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(v.Dir())) }()
	l := &launch{vm: v, plan: &plan{config: &config}}
	if _, err := l.writeConfig(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(v.Dir(), configName))
}

// RestoredTAPs returns the TAPs that are made for the interfaces of a snapshot, whose own
// were named "was-" and the interface, and what Firecracker of that version is told of them.
func RestoredTAPs(version string, nics []firecracker.NetworkInterface) (taps map[string]string, told []firecracker.NetworkOverride, err error) {
	v, err := firecracker.ParseVersion(version)
	config := &vmconfig.Config{NetworkInterfaces: nics}
	l := &launch{vm: &VM{config: config}, binary: image.Binary{Version: v}}
	taps = map[string]string{}
	for _, i := range config.MadeInterfaces() {
		id := nics[i].IfaceID
		taps[id] = l.insideTAP(&snapshot.Interface{ID: id, HostDevice: "was-" + id})
	}
	return taps, l.overrides(), err
}
