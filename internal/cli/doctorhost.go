package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/privdir"
	"github.com/smartvm/smartvm/pool"
)

// checkKernel is about the oldest host kernel that Firecracker supports
// (docs/kernel-policy.md).
func checkKernel() finding {
	const check = "kernel"
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return failed(check, err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	ma, err := strconv.Atoi(major)
	mi, err2 := strconv.Atoi(minor)
	if err == nil && err2 == nil && (ma < 5 || ma == 5 && mi < 10) {
		return finding{check, warning, "Linux " + release, "use Linux 5.10 or newer, the oldest that Firecracker supports"}
	}
	return finding{Check: check, Status: fine, Found: "Linux " + release}
}

// kvmGetAPIVersion is KVM_GET_API_VERSION of linux/kvm.h; the answer is 12.
const (
	kvmGetAPIVersion = 0xae00
	kvmAPIVersion    = 12
)

func checkKVM() finding {
	const check = "kvm"
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return finding{check, failing, "there is no /dev/kvm", "modprobe kvm_intel or kvm_amd; in a virtual machine, enable nested virtualisation"}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		user := pool.Current()
		return finding{check, failing, "user " + user.Name + " may not open /dev/kvm", user.Command() + "; or usermod -aG kvm " + user.Name + ", and log in again"}
	case err != nil:
		return finding{check, failing, "/dev/kvm can't be opened: " + err.Error(), "see dmesg; the module for this processor may not be loaded"}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	version, err := unix.IoctlRetInt(fd, kvmGetAPIVersion)
	if err != nil || version != kvmAPIVersion {
		return finding{check, failing, fmt.Sprintf("/dev/kvm does not answer as KVM does (version %d, %v)", version, err), "see what made /dev/kvm"}
	}
	return finding{Check: check, Status: fine, Found: "/dev/kvm, may be used"}
}

func (a *app) checkFirecracker(ctx context.Context) finding {
	found, err := a.findFirecracker(ctx, firecracker.Version{})
	if err != nil {
		return failed("firecracker", err)
	}
	return finding{Check: "firecracker", Status: fine, Found: fmt.Sprintf("%s, %s", found.Version, found.Path)}
}

// littleSpace is what a few VMs with small drives need.
const littleSpace = 1 << 30

// checkDirectory looks at the space of a directory and, for the runtime
// directory, whether it is on a tmpfs.
func checkDirectory(check, path string, memory bool) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return failed(check, &fs.PathError{Op: "statfs", Path: path, Err: err})
	}
	free := st.Bavail * uint64(st.Bsize)
	f := finding{Check: check, Status: fine, Found: fmt.Sprintf("%s, %d MiB free", path, free>>20)}
	switch {
	case free < littleSpace:
		f.Status, f.Fix = warning, "free some room: copies of writable drives may not fit"
	case memory && !privdir.IsTmpfs(path):
		f.Status = warning
		f.Found += ", not a tmpfs"
		f.Fix = "set SMARTVM_RUNTIME_DIR to a directory on a tmpfs: starts are faster and a reboot leaves nothing"
	case memory:
		f.Found += ", tmpfs"
	}
	return f
}

// checkImages looks at the cache of images.
func checkImages(ctx context.Context, m *smartvm.Manager) finding {
	const check = "images"
	images, err := m.BaseImages().List(ctx)
	if err != nil {
		return failed(check, err)
	}
	var size int64
	var damaged []string
	for i := range images {
		size += images[i].SizeBytes
		if images[i].Damaged != "" {
			damaged = append(damaged, images[i].ID)
		}
	}
	if len(damaged) > 0 {
		return finding{check, warning, "damaged: " + strings.Join(damaged, ", "), "smartvm image pull ID repairs one, smartvm image rm ID removes it"}
	}
	return finding{Check: check, Status: fine, Found: fmt.Sprintf("%d, %s", len(images), byteSize(size))}
}

func checkLeftovers(ctx context.Context, m *smartvm.Manager) finding {
	const check = "leftovers"
	garbage, err := m.GC(ctx, smartvm.GCOptions{DryRun: true})
	if err != nil {
		return failed(check, err)
	}
	if len(garbage) > 0 {
		return finding{check, warning, fmt.Sprintf("%d of VMs that are gone or have ended", len(garbage)), "smartvm gc --dry-run lists them, smartvm gc removes them"}
	}
	return finding{Check: check, Status: fine, Found: "none"}
}

func checkCgroups() finding {
	const check, root = "cgroups", "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		return finding{check, warning, "no cgroup v2 at " + root, "boot with systemd.unified_cgroup_hierarchy=1 to limit VMs by cgroups"}
	}
	return finding{Check: check, Status: fine, Found: "v2"}
}

// fewWatches is what some dozens of followers of consoles use up, next to those
// of other programs.
const fewWatches = 64

// checkInotify is about the limit on instances; smartvm needs one per process.
func checkInotify() finding {
	const check, path = "inotify", "/proc/sys/fs/inotify/max_user_instances"
	data, err := os.ReadFile(path)
	if err != nil {
		return failed(check, err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return failed(check, err)
	}
	f := finding{Check: check, Status: fine, Found: fmt.Sprintf("%d instances per user", limit)}
	if limit < fewWatches {
		f.Status, f.Fix = warning, "sysctl fs.inotify.max_user_instances=1024"
	}
	return f
}
