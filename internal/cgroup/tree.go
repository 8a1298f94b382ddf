package cgroup

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/mountinfo"
)

// Tree is where the groups of version 2 are on this host.
type Tree struct {
	// Mount is the mount point.
	Mount string
	// Controllers are those that groups below can have: "cpu", "memory", ...
	Controllers []string

	old   map[string]string // controllers that version 1 has, and where
	inner bool              // the root of the mount is not that of the host: we are in a container
}

// hintUnified makes version 2 the only one.
const hintUnified = "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line"

// Find looks for the tree. A host that has only version 1 is CGROUP_UNAVAILABLE.
func Find() (*Tree, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, failure("find cgroups", "", err)
	}
	for _, m := range mounts {
		if m.Kind != "cgroup2" {
			continue
		}
		t, err := look(m.Point)
		if errors.Is(err, errHidden) {
			continue
		}
		if err != nil {
			return nil, failure("look at cgroups", m.Point, err)
		}
		t.old = oldControllers(mounts)
		return t, nil
	}
	e := &errcode.Error{Code: errcode.CgroupUnavailable, Op: "find cgroups", Err: errors.New("no cgroup2 file system is mounted"), Hint: hintUnified}
	if len(oldControllers(mounts)) == 0 {
		e.Hint = "mount one: mount -t cgroup2 none /sys/fs/cgroup"
	}
	return nil, e
}

// look reads what the root of a mounted tree says.
func look(point string) (*Tree, error) {
	root, err := openTree(point)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	text, err := root.ReadFile("cgroup.controllers")
	if err != nil {
		return nil, err
	}
	_, err = root.Lstat("cgroup.type") // every group has it, but for the first of the host
	return &Tree{Mount: point, Controllers: strings.Fields(string(text)), inner: err == nil}, nil
}

// errHidden is about a mount point with another mount on top.
var errHidden = errors.New("it is no cgroup2 file system")

// openTree opens the root of a mounted tree. The error matches errHidden when something
// else is there.
func openTree(point string) (*os.Root, error) {
	root, err := os.OpenRoot(point)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return nil, errors.Join(os.NewSyscallError("fstatfs", err), root.Close())
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, errors.Join(errHidden, root.Close())
	}
	return root, nil
}

// oldControllers tells where version 1 has the controllers that limits use. A
// controller is in one version only.
func oldControllers(mounts []mountinfo.Mount) map[string]string {
	old := map[string]string{}
	for _, m := range mounts {
		if m.Kind != "cgroup" {
			continue
		}
		for _, name := range m.Super {
			switch name {
			case "cpu", "memory", "pids":
				old[name] = m.Point
			case "blkio": // what io was called
				old["io"] = m.Point
			}
		}
	}
	return old
}

// Check tells whether groups of the tree can hold the limits. If not, the error is
// CGROUP_UNAVAILABLE, and its Details have each controller that is missing.
func (t *Tree) Check(l Limits) error {
	e := &errcode.Error{Code: errcode.CgroupUnavailable, Op: "use cgroups", Subject: t.Mount}
	for _, name := range l.controllers() {
		if slices.Contains(t.Controllers, name) {
			continue
		}
		d := errcode.Detail{Field: name}
		switch point, old := t.old[name]; {
		case old:
			d.Message, e.Hint = "this controller is in use by cgroup version 1 at "+point, hintUnified
		case t.inner:
			d.Message, e.Hint = "this controller is not delegated to this part of the tree", "have it delegated: Delegate=yes in a systemd unit, or what the container's manager has for it"
		default:
			d.Message = "this kernel does not have the controller, or cgroup_disable= on its command line switches it off"
			e.Hint = "look into /proc/cmdline, and boot without cgroup_disable=, or with another kernel"
		}
		e.Details = append(e.Details, d)
	}
	if len(e.Details) == 0 {
		return nil
	}
	return e
}
