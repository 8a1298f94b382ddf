package smartvm

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/snapshot"
)

// describeDevices tells what the manifest has to know of the VM's devices to make them
// again.
func (c *capture) describeDevices(ctx context.Context) error {
	v := c.vm
	machine := v.config.MachineConfig
	if machine == nil {
		machine = &firecracker.MachineConfig{}
	}
	c.about.Memory = snapshot.Memory{HugePages: machine.HugePages, TrackDirtyPages: c.options.Diff || machine.TrackDirtyPages, Balloon: v.config.Balloon != nil}
	c.describeDrives()
	c.describeInterfaces()
	if s := v.config.Vsock; s != nil {
		c.about.Vsock = &snapshot.Vsock{CID: s.GuestCID, SocketName: filepath.Base(s.UDSPath)}
	}
	if v.config.MMDSConfig == nil {
		return nil
	}
	data, err := c.client.MMDS(ctx)
	if err != nil {
		return err
	}
	c.about.MMDS, err = json.Marshal(data)
	return err
}

// describeDrives decides which drives are copied: those that the guest can write. The
// others are shared by all who are restored.
func (c *capture) describeDrives() {
	v := c.vm
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.config.Drives {
		drive := snapshot.Drive{ID: d.DriveID, ReadOnly: d.IsReadOnly, RootDevice: d.IsRootDevice, HostPath: v.files.Host(driveRole(d.DriveID))}
		if !d.IsReadOnly {
			drive.Copy = snapshot.DiskFile(d.DriveID)
		}
		c.about.Drives = append(c.about.Drives, drive)
	}
}

func (c *capture) describeInterfaces() {
	taps := map[string]hostnet.TAP{}
	for _, t := range c.vm.TAPs() {
		taps[t.Iface] = t
	}
	c.vm.mu.Lock()
	restored := c.vm.restored
	c.vm.mu.Unlock()
	for _, n := range c.vm.config.NetworkInterfaces {
		if i := slices.IndexFunc(restored, func(r snapshot.Interface) bool { return r.ID == n.IfaceID }); i >= 0 {
			nic := restored[i]
			nic.HostDevice = taps[n.IfaceID].Name // which may have changed since
			c.about.Interfaces = append(c.about.Interfaces, nic)
			continue
		}
		nic := snapshot.Interface{ID: n.IfaceID, HostDevice: n.HostDevName, GuestMAC: n.GuestMAC}
		if tap, made := taps[n.IfaceID]; made {
			nic.Made, nic.HostDevice, nic.GuestMAC = true, tap.Name, tap.MAC
			nic.GuestAddress, nic.Gateway, nic.GatewayMAC = tap.Addr.String(), tap.Gateway.String(), tap.GatewayMAC
		}
		c.about.Interfaces = append(c.about.Interfaces, nic)
	}
}
