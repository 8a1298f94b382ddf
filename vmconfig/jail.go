package vmconfig

import (
	"path/filepath"
	"strings"
)

// Jail is about the jail that a VM's Firecracker runs in. Without it there is one all
// the same where the manager makes jails.
type Jail struct {
	// NetNS is the path of the network namespace in which Firecracker opens TAPs and
	// in which it is. All interfaces have to name a TAP of it. Default: that of the
	// manager; a VM without interfaces gets an empty one of its own.
	NetNS string `json:"netns,omitempty"`
	// MaxOpenFiles is how many files and sockets Firecracker may have open. Default 2048.
	MaxOpenFiles int `json:"max_open_files,omitempty"`
	// MaxFileSize is how large a file may get by what Firecracker writes, in bytes: one
	// more ends it. That counts for drives, logs and the memory of snapshots. Default:
	// no limit.
	MaxFileSize int `json:"max_file_size,omitempty"`
}

// minOpenFiles is what Firecracker needs for itself, with some devices.
const minOpenFiles = 64

func (f *faults) jail(c *Config) {
	j := c.Jail
	if j == nil {
		return
	}
	if j.NetNS != "" && (!filepath.IsAbs(j.NetNS) || strings.ContainsRune(j.NetNS, 0)) {
		f.Add("jail.netns", "is %q, want an absolute path, such as /run/netns/NAME", j.NetNS)
	}
	if j.NetNS != "" && len(c.MadeInterfaces()) > 0 {
		f.Add("jail.netns", "goes with interfaces that name a TAP in that namespace (host_dev_name); smartvm makes TAPs in its own only")
	}
	if j.MaxOpenFiles < 0 || j.MaxOpenFiles > 0 && j.MaxOpenFiles < minOpenFiles {
		f.Add("jail.max_open_files", "is %d, want %d or more", j.MaxOpenFiles, minOpenFiles)
	}
	if j.MaxFileSize < 0 {
		f.Add("jail.max_file_size", "is %d, want a number of bytes", j.MaxFileSize)
	}
}
