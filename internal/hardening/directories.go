package hardening

import (
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

var directories = []check{
	{
		name: "runtime directory", severity: Must, look: func(l *look) { l.private(l.RuntimeDir) },
		why: "it has the sockets that VMs are controlled by, their consoles and copies of drives",
	},
	{
		name: "data directory", severity: Must, look: func(l *look) { l.private(l.DataDir) },
		why: "it has the programs that run, and what guests boot from",
	},
	{
		name: "mount options", severity: Should, look: checkMountOptions,
		why: "what a guest gets its Firecracker to write should be no program and no device",
	},
	{
		name: "log bounds", severity: Should, look: checkBounds,
		why: "guests cause messages and output as long as there is room, which others need",
	},
	{
		name: "reflink", severity: Info, look: checkReflink,
		why: "where files can share blocks, a drive is copied at once and takes no room",
	},
}

// private concludes whether a directory is its owner's alone.
func (l *look) private(dir string) {
	if dir == "" {
		l.weak("smartvm doctor says why, and what to do", "it can't be used")
		return
	}
	f, ok := l.stat(dir)
	switch {
	case !ok:
	case !f.mode.IsDir():
		l.weak("choose another one", "%s is no directory", dir)
	case f.uid != l.UID && f.uid != 0:
		l.weak("choose one of your own", "%s belongs to user %d", dir, f.uid)
	case f.mode.Perm()&0o077 != 0:
		l.weak("chmod 0700 "+dir, "others get into %s (%s)", dir, f)
	default:
		l.ok("%s is private", dir)
	}
}

// on returns the mount that a directory is on.
func (l *look) on(dir string) (mountinfo.Mount, bool) {
	mounts, ok := l.mounts()
	if !ok {
		return mountinfo.Mount{}, false
	}
	m, found := mountinfo.At(mounts, dir)
	if dir == "" || !found {
		l.unknown("which file system it is on can't be told")
		return m, false
	}
	l.note(mountList, dir+": "+m.Kind+" at "+m.Point+", "+strings.Join(m.Options, ","))
	return m, true
}

// checkMountOptions wants programs where the data are: Firecracker itself is one. A
// jail mounts its root anew, with what it needs.
func checkMountOptions(l *look) {
	for _, d := range []struct {
		dir  string
		want []string
	}{{l.RuntimeDir, []string{"nosuid", "nodev", "noexec"}}, {l.DataDir, []string{"nosuid", "nodev"}}} {
		m, ok := l.on(d.dir)
		if !ok {
			return
		}
		lack := slices.DeleteFunc(slices.Clone(d.want), m.Has)
		if len(lack) == 0 {
			continue
		}
		options := strings.Join(lack, ",")
		fix := "mount -o remount," + options + " " + m.Point + ", and the same in /etc/fstab"
		if m.Point == "/" {
			fix = "give " + d.dir + " a file system of its own, mounted with " + strings.Join(d.want, ",")
		}
		l.weak(fix, "%s is mounted without %s", d.dir, options)
		return
	}
	l.ok("what is in them gives no rights")
}

// checkBounds is about the file system that logs, metrics and consoles go to.
func checkBounds(l *look) {
	m, ok := l.on(l.RuntimeDir)
	if !ok {
		return
	}
	console := "smartvm keeps the newest " + strconv.FormatInt(l.ConsoleLimit>>10, 10) + " KiB of each console"
	switch {
	case m.Kind == "tmpfs" && m.SuperValue("size") == "" && m.SuperValue("nr_blocks") == "":
		l.weak("mount -o remount,size=4G "+m.Point, "%s; Firecracker's own log may fill %s, a tmpfs without a size", console, m.Point)
	case m.Point == "/":
		l.weak("give "+l.RuntimeDir+" a file system of its own, best a tmpfs with a size", "%s; Firecracker's own log may fill the root file system", console)
	default:
		l.ok("%s; the rest can fill %s, and nothing else", console, m.Point)
	}
}

// sharing are the file systems that can share blocks of files.
var sharing = []string{"xfs", "btrfs", "bcachefs"}

func checkReflink(l *look) {
	m, ok := l.on(l.DataDir)
	switch {
	case !ok:
	case slices.Contains(sharing, m.Kind):
		l.ok("%s is on %s, whose files can share blocks", l.DataDir, m.Kind)
	default:
		l.weak("put it on xfs (mkfs.xfs -m reflink=1) or btrfs", "%s is on %s, whose files can't: each writable drive is copied", l.DataDir, m.Kind)
	}
}
