package hardening

import (
	"io/fs"
	"path"
	"strings"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

var memory = []check{
	{
		name: "swap", severity: Must, look: checkSwap,
		why: "the memory of guests would lie on a disk, longer than they live",
	},
	{
		name: "ksm", severity: Must, look: checkKSM,
		why: "guests can tell from the time a write takes whether another has the same page",
	},
	{
		name: "core dumps", severity: Should, look: checkCore,
		why: "a Firecracker that crashes would leave the memory of its guest on a disk",
	},
}

func checkSwap(l *look) {
	text, ok := l.read("/proc/swaps")
	if !ok {
		return
	}
	var plain, unclear []string
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] { // the first has the titles
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		switch encrypted, known := l.swapIsEncrypted(fields[0]); {
		case !known:
			unclear = append(unclear, fields[0])
		case !encrypted:
			plain = append(plain, fields[0])
		}
	}
	const fix = "swapoff -a, and take swap out of /etc/fstab; or encrypt it with a random key (/etc/crypttab: swap)"
	switch {
	case len(plain) > 0:
		l.weak(fix, "%s is on and not encrypted", strings.Join(plain, ", "))
	case len(unclear) > 0:
		l.unknown("%s is on; whether it is encrypted can't be told", strings.Join(unclear, ", "))
		l.finding.Fix = fix
	case len(lines) > 1:
		l.ok("it is encrypted, or in memory")
	default:
		l.ok("it is off")
	}
}

// swapIsEncrypted finds out what a swap device or file is on.
func (l *look) swapIsEncrypted(name string) (encrypted, known bool) {
	base := path.Base(name)
	if strings.HasPrefix(name, "/dev/") {
		if strings.HasPrefix(base, "zram") { // compressed memory, unless it has a disk behind it
			backing, ok := l.maybe("/sys/block/" + base + "/backing_dev")
			return backing == "none", ok
		}
		return l.deviceIsEncrypted("/sys/class/block/"+base, 0)
	}
	mounts, ok := l.mounts()
	if !ok {
		return false, false
	}
	m, found := mountinfo.At(mounts, name)
	if !found || strings.HasPrefix(m.Device, "0:") { // of a file system that is on no one device
		return false, false
	}
	return l.deviceIsEncrypted("/sys/dev/block/"+m.Device, 0)
}

// deepest is how many devices lie on each other: RAID, LVM, encryption.
const deepest = 8

// deviceIsEncrypted follows a block device to those that it is made of.
func (l *look) deviceIsEncrypted(dir string, depth int) (encrypted, known bool) {
	if _, ok := l.names(dir); !ok || depth > deepest {
		return false, false
	}
	if id, ok := l.maybe(dir + "/dm/uuid"); ok && strings.HasPrefix(id, "CRYPT-") { // dm-crypt's, by cryptsetup
		return true, true
	}
	below, err := fs.ReadDir(l.FS, inTree(dir+"/slaves"))
	if err != nil || len(below) == 0 { // a partition has no such directory
		return false, true
	}
	for _, device := range below {
		encrypted, known := l.deviceIsEncrypted("/sys/class/block/"+device.Name(), depth+1)
		if !encrypted || !known {
			return encrypted, known
		}
	}
	return true, true
}

func checkKSM(l *look) {
	n, ok := l.number("/sys/kernel/mm/ksm/run")
	switch {
	case !ok:
	case n == 1:
		l.weak("echo 2 > /sys/kernel/mm/ksm/run, and disable ksmtuned", "equal pages are being merged")
	default: // 2: stopped, and all that was merged is separate again
		l.ok("it is off")
	}
}

// checkCore follows core(5). A limit of 0 does not keep the kernel from piping a core
// dump into a program.
func checkCore(l *look) {
	const pattern = "/proc/sys/kernel/core_pattern"
	text, ok := l.read(pattern)
	if !ok {
		return
	}
	const fix = "sysctl -w kernel.core_pattern='|/bin/false', and the same in /etc/sysctl.d"
	switch {
	case strings.HasPrefix(text, "|/bin/false"), text == "":
		l.ok("they are thrown away")
	case strings.HasPrefix(text, "|"):
		l.weak(fix, "they go to a program, whatever the limits: %s", shorten(text))
	default:
		l.coreLimit(fix)
	}
}

// coreLimit is about core files, which the limit of this process keeps its children
// from leaving.
func (l *look) coreLimit(fix string) {
	const path, name = "/proc/self/limits", "Max core file size"
	limits, ok := l.readPrivately(path)
	if !ok {
		return
	}
	for line := range strings.Lines(limits) {
		if rest, found := strings.CutPrefix(line, name); found {
			fields := strings.Fields(rest)
			l.note(path, name+": "+strings.Join(fields, " "))
			if len(fields) > 0 && fields[0] == "0" {
				l.ok("they are limited to nothing where smartvm runs")
			} else {
				l.weak(fix, "they become files")
			}
			return
		}
	}
	l.unknown("%s does not tell the limit", path)
}
