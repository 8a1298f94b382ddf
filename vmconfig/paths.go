package vmconfig

import "fmt"

// Role says what the file at a path is for.
type Role string

// The roles of paths in a config.
const (
	RoleKernel      Role = "kernel"       // read by Firecracker
	RoleInitrd      Role = "initrd"       // read
	RoleDrive       Role = "drive"        // read, and written unless the drive is read-only
	RoleDriveSocket Role = "drive-socket" // connected to: a vhost-user backend
	RolePmem        Role = "pmem"         // mapped, writable unless it is read-only
	RoleVsock       Role = "vsock"        // made by Firecracker, must not exist; PATH_PORT is connected to
	RoleLog         Role = "log"          // written
	RoleMetrics     Role = "metrics"      // written
	RoleSerial      Role = "serial"       // written
	RoleCPUConfig   Role = "cpu-config"   // read by the caller, never sent
	RoleGDBSocket   Role = "gdb-socket"   // made by Firecracker
)

// Path is one path of a config.
type Path struct {
	Role  Role
	ID    string // the device, for roles that several can have
	Field string // as in the errors of Validate: "drives[0].path_on_host"
	Path  string // never empty
}

// VisitPaths calls visit with every path that is set, in the order of boot, and
// puts its result in the path's place; "" clears it. It is the one list of
// where paths are: what copies files or moves them into a jail goes through it.
func (c *Config) VisitPaths(visit func(Path) string) {
	at := func(role Role, id, field string, path *string) {
		if *path != "" {
			*path = visit(Path{Role: role, ID: id, Field: field, Path: *path})
		}
	}
	if c.Logger != nil {
		at(RoleLog, "", "logger.log_path", &c.Logger.LogPath)
	}
	if c.Metrics != nil {
		at(RoleMetrics, "", "metrics.metrics_path", &c.Metrics.MetricsPath)
	}
	if c.Serial != nil {
		at(RoleSerial, "", "serial.serial_out_path", &c.Serial.SerialOutPath)
	}
	if c.MachineConfig != nil {
		at(RoleGDBSocket, "", "machine-config.gdb_socket_path", &c.MachineConfig.GDBSocketPath)
	}
	if c.CPUConfig != nil {
		at(RoleCPUConfig, "", "cpu-config", &c.CPUConfig.Path)
	}
	at(RoleKernel, "", "boot-source.kernel_image_path", &c.BootSource.KernelImagePath)
	at(RoleInitrd, "", "boot-source.initrd_path", &c.BootSource.InitrdPath)
	for i := range c.Drives {
		d := &c.Drives[i]
		at(RoleDrive, d.DriveID, fmt.Sprintf("drives[%d].path_on_host", i), &d.PathOnHost)
		at(RoleDriveSocket, d.DriveID, fmt.Sprintf("drives[%d].socket", i), &d.Socket)
	}
	for i := range c.Pmem {
		p := &c.Pmem[i]
		at(RolePmem, p.ID, fmt.Sprintf("pmem[%d].path_on_host", i), &p.PathOnHost)
	}
	if c.Vsock != nil {
		at(RoleVsock, "", "vsock.uds_path", &c.Vsock.UDSPath)
	}
}
