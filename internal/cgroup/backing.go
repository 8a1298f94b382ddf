package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/mountinfo"
)

// errNoDisk is about a file that is on no disk of this host.
var errNoDisk = errors.New("it is on no block device")

// LimitFiles returns the limits for the disks that hold the files; a block device
// is its own disk. The kernel limits whole disks, so everything that a VM has on one
// shares its rates. Files that are on no disk, as in a tmpfs or on NFS, are left
// out; if that goes for all, the error is INVALID_CONFIG.
func LimitFiles(files []string, r Rates) ([]DiskLimit, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	var limits []DiskLimit
	for _, path := range files {
		disk, err := diskOf(path, mounts)
		switch {
		case errors.Is(err, errNoDisk):
			continue
		case err != nil:
			return nil, fmt.Errorf("find the disk of %s: %w", path, err)
		}
		limits = append(limits, DiskLimit{disk, r})
	}
	if limits = strictest(limits); len(limits) == 0 && len(files) > 0 {
		return nil, &errcode.Error{
			Code: errcode.InvalidConfig, Op: "limit disks", Subject: strings.Join(files, ", "), Err: errNoDisk,
			Hint: "leave limits.io out, or keep the drives on a disk",
		}
	}
	return limits, nil
}

// diskOf finds the whole disk behind a file.
func diskOf(path string, mounts []mountinfo.Mount) (Disk, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE|unix.STATX_MNT_ID, &st); err != nil {
		return Disk{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	d := Disk{st.Dev_major, st.Dev_minor}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		d = Disk{st.Rdev_major, st.Rdev_minor}
	}
	if d.Major == 0 { // a file system without a device of its own, or with several
		source, err := mountedFrom(st.Mnt_id, mounts)
		if err != nil {
			return Disk{}, err
		}
		d = source
	}
	return wholeDisk("/sys/dev/block", d)
}

// mountedFrom is the device that a mount was made of, for btrfs: its files tell the
// number of a subvolume. If it is made of several devices, this is the first.
func mountedFrom(id uint64, mounts []mountinfo.Mount) (Disk, error) {
	for _, m := range mounts {
		if uint64(m.ID) != id || m.Kind != "btrfs" {
			continue
		}
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, m.Source, 0, unix.STATX_TYPE, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			return Disk{st.Rdev_major, st.Rdev_minor}, nil
		}
	}
	return Disk{}, errNoDisk
}

// wholeDisk returns the disk that a partition is part of, and a disk as it is.
// devices is /sys/dev/block, whose entries are links into the tree of devices, where
// a partition is inside its disk.
func wholeDisk(devices string, d Disk) (Disk, error) {
	dir := devices + "/" + d.String()
	switch _, err := os.Stat(dir + "/partition"); {
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case err != nil:
		return Disk{}, err
	}
	text, err := os.ReadFile(dir + "/../dev") // after the link, as the kernel walks
	if err != nil {
		return Disk{}, fmt.Errorf("find the disk of partition %s: %w", d, err)
	}
	return parseDisk(string(text))
}
