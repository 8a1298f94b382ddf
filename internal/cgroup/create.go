package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// Create makes the group and sets its limits. It is the effect of a ledger's record
// of the group: after an error, part of it may be there. The error is NOT_PERMITTED
// or CGROUP_UNAVAILABLE.
func (g *Group) Create() error {
	root, err := openTree(g.Mount)
	if err != nil {
		return failure("open cgroups", g.Mount, err)
	}
	defer root.Close()
	if err := g.makeDirs(root); err != nil {
		return failure("make cgroup", g.Path, err)
	}
	// From here on the parents stay, since the group is in them.
	if err := g.enable(root, false); err != nil {
		return err
	}
	err = g.limit(root, false)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody else is just enabling a controller, which the parent says already while
		// the group does not have all of its files yet. A write waits for that.
		if err := g.enable(root, true); err != nil {
			return err
		}
		err = g.limit(root, true)
	}
	if err != nil {
		return err
	}
	return g.checkType(root)
}

// checkType sees that processes can be in the group. Some controllers, such as pids, may
// be enabled in a group with processes, but then those inside can have threads only.
func (g *Group) checkType(root *os.Root) error {
	text, err := root.ReadFile(g.Path + "/cgroup.type")
	if err == nil && strings.TrimSpace(string(text)) == "domain invalid" {
		return busyParent("make cgroup", g.Path)
	}
	return failure("read cgroup", g.Path, err)
}

// busyParent is about the rule that processes are in the leaves of the tree only.
func busyParent(op, subject string) error {
	return &errcode.Error{
		Code: errcode.CgroupUnavailable, Op: op, Subject: subject, Err: errors.New("processes are in a parent of the group"),
		Hint: "choose a parent that is in no group with processes, or move them into a group of their own",
	}
}

// limit sets the limits. complete says that all files are there that will ever be.
func (g *Group) limit(root *os.Root, complete bool) error {
	for _, s := range g.limits.settings() {
		err := write(root, g.Path+"/"+s.file, s.value)
		if complete && s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return failure("limit cgroup", fmt.Sprintf("%s: %s to %s", g.Path, s.file, s.value), err)
		}
	}
	return nil
}

// maxAttempts is how often others may remove our parents before we give up.
const maxAttempts = 1000

// makeDirs makes the group, and the parents that are missing. Whoever releases the
// last group in a parent removes it, perhaps after we have seen it.
func (g *Group) makeDirs(root *os.Root) (err error) {
	for range maxAttempts {
		if err = g.tryDirs(root); !isGone(err) {
			return err
		}
	}
	return err
}

func (g *Group) tryDirs(root *os.Root) error {
	for _, p := range parents(g.Path) {
		switch err := mkdir(root, p); {
		case err == nil:
			if err := mark(root, p); err != nil {
				return err
			}
		case errors.Is(err, fs.ErrExist): // whoever has made it marks it
			g.Missing = slices.DeleteFunc(g.Missing, func(m string) bool { return m == p })
		default:
			return err
		}
	}
	return mkdir(root, g.Path)
}

// mkdir makes a group that others may look at, as all of them are.
func mkdir(root *os.Root, path string) error {
	return root.Mkdir(path, 0o755)
}

// markName is the extended attribute of parents that smartvm has made. Groups have
// those of users since Linux 5.7, as they have CLONE_INTO_CGROUP.
const markName = "user.smartvm.parent"

func mark(root *os.Root, path string) error {
	dir, err := root.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("fsetxattr", unix.Fsetxattr(int(dir.Fd()), markName, []byte("1"), 0))
}

func isMarked(root *os.Root, path string) (bool, error) {
	dir, err := root.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	n, err := unix.Fgetxattr(int(dir.Fd()), markName, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	return err == nil && n > 0, os.NewSyscallError("fgetxattr", err)
}

// enable lets the group, and its parents, have the controllers that its limits need.
// With again it does so where that is the case already.
func (g *Group) enable(root *os.Root, again bool) error {
	need := g.limits.controllers()
	if len(need) == 0 {
		return nil
	}
	for _, p := range append([]string{"."}, parents(g.Path)...) {
		file := p + "/cgroup.subtree_control"
		text, err := root.ReadFile(file)
		if err != nil {
			return failure("read", file, err)
		}
		have := strings.Fields(string(text))
		add := slices.DeleteFunc(slices.Clone(need), func(name string) bool { return slices.Contains(have, name) })
		switch {
		case len(add) > 0:
			err = enable(root, file, add)
		case again:
			err = enable(root, file, need)
			if errors.Is(err, errcode.NotPermitted) {
				err = nil // somebody has delegated it, and is done
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enable adds controllers to a file of a parent. Others may do so at the same time: it
// is what they want too. It is not done without need, since the kernel first waits until
// all groups below are gone that are being removed.
//
// A parent that has them for its groups keeps its own parent from taking them back,
// as systemd does with what its units do not use.
func enable(root *os.Root, file string, controllers []string) error {
	change := "+" + strings.Join(controllers, " +")
	switch err := write(root, file, change); {
	case errors.Is(err, unix.EBUSY):
		return busyParent("write", change+" to "+file)
	case errors.Is(err, fs.ErrNotExist):
		return &errcode.Error{
			Code: errcode.CgroupUnavailable, Op: "write", Subject: change + " to " + file,
			Err: errors.New("a controller is missing in its cgroup.controllers"), Hint: "choose a parent that has it",
		}
	default:
		return failure("write", change+" to "+file, err)
	}
}

// write writes a file of a group, at once, as the kernel wants it.
func write(root *os.Root, path, value string) error {
	f, err := root.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
