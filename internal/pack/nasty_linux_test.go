package pack_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	longTarget = 150 // more than the 100 bytes that the header of a tar has for it
	holed      = 40 << 20
)

// maker makes a tree and fails the test at the first mistake.
type maker struct {
	t    *testing.T
	root string
}

func (m maker) path(name string) string { return filepath.Join(m.root, name) }

func (m maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) dir(name string, mode uint32) {
	m.t.Helper()
	m.must(os.MkdirAll(m.path(name), 0o755))
	m.must(unix.Chmod(m.path(name), mode))
}

func (m maker) file(name, content string, mode uint32) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), []byte(content), 0o600))
	m.must(unix.Chmod(m.path(name), mode))
}

func (m maker) xattr(name, attr, value string) {
	m.t.Helper()
	if err := unix.Lsetxattr(m.path(name), attr, []byte(value), 0); err != nil {
		m.t.Skipf("the file system of %s takes no %s: %v", m.root, attr, err)
	}
}

// nasty makes a tree of all that is hard to keep; without root, of what can be
// made then.
func nasty(t *testing.T) string {
	t.Helper()
	m := maker{t, filepath.Join(t.TempDir(), "tree")}
	m.dir(".", 0o711)
	m.file("bin/setuid", "#!/bin/true\n", 0o4755)
	m.file("bin/setgid", "", 0o2711)
	m.dir("tmp", 0o1777)
	m.dir("empty/of/everything", 0o700)
	m.file("zero", "", 0o600)
	m.file("text", "hello", 0o600)
	m.must(os.Link(m.path("text"), m.path("bin/again")))
	m.must(os.Link(m.path("text"), m.path("zz-last")))
	m.must(os.Symlink("/"+strings.Repeat("x", longTarget-1), m.path("long-absolute")))
	m.must(os.Symlink("../../"+strings.Repeat("y", longTarget), m.path("long-upwards")))
	m.must(os.Symlink(strings.Repeat("d/", 1500)+"end", m.path("very-long")))
	m.must(os.Symlink("/étc/\xff\xfe", m.path("tmp/odd-target")))
	m.must(os.Symlink("nowhere", m.path("dangling")))
	m.must(os.Link(m.path("dangling"), m.path("dangling-too")))
	m.must(unix.Mkfifo(m.path("fifo"), 0o620))
	m.file(strings.Repeat("n", 200), "long name", 0o644)
	m.file(strings.Repeat("m", 255)+"/"+strings.Repeat("m", 255), "longest", 0o644)
	m.file("grüße/日本", "utf-8", 0o644)
	m.file("bytes-\xff\xfe\x01\n", "not utf-8", 0o644)
	m.file(" ./ . /...", "dots", 0o644)
	m.file("-rf *;$(x)", "for shells", 0o644)
	m.file(strings.Repeat("deep/", 60)+"down", "deep", 0o600)
	m.file("lost+found/found", "", 0o600)
	m.file(".spare-inodes", "has the name that is used inside", 0o600)
	m.xattr("text", "user.comment", "with a\x00NUL and\n lines")
	m.xattr("text", "user.empty", "")
	m.xattr("zero", "user.long", strings.Repeat("v", 2000))
	for i := range 11 {
		m.xattr("zero", "user."+strings.Repeat("n", 20-i), strings.Repeat(strconv.Itoa(i%10), i*7))
	}
	m.xattr("bin", "user.on-directory", "d")
	m.must(unix.Chmod(m.path("text"), 0o444)) // an attribute can't be set after that
	m.holes("disk")
	if os.Geteuid() == 0 {
		m.asRoot()
	}
	m.times()
	return m.root
}

// holes makes a file of two blocks of data in 40 MB of nothing.
func (m maker) holes(name string) {
	m.t.Helper()
	f, err := os.Create(m.path(name))
	m.must(err)
	for _, at := range []int64{12345678, holed - 5} {
		_, err := f.WriteAt([]byte("data!"), at)
		m.must(err)
	}
	m.must(f.Close())
}

// asRoot adds what only root can make.
func (m maker) asRoot() {
	m.t.Helper()
	m.must(unix.Mknod(m.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.must(unix.Mknod(m.path("big-device"), unix.S_IFBLK|0o640, int(unix.Mkdev(4000, 1<<20-1))))
	for name, id := range map[string]int{"text": 1000, "dangling": 1001, "fifo": 65536, "null": 65534, "zero": 1 << 31, "tmp": 1<<32 - 2} {
		m.must(os.Lchown(m.path(name), id, id/2+7))
	}
	m.must(os.Chown(m.root, 77777, 88888)) // who owns nothing else
	m.must(unix.Chmod(m.path("zero"), 0))  // not even the owner may read it
	m.must(unix.Chmod(m.path("bin/setuid"), 0o4755))
	capability := make([]byte, 20) // struct vfs_cap_data (linux/capability.h): revision 2, CAP_NET_RAW
	binary.LittleEndian.PutUint32(capability, 0x02000001)
	binary.LittleEndian.PutUint32(capability[4:], 1<<13)
	m.xattr("bin/setgid", "security.capability", string(capability))
	m.xattr("long-absolute", "trusted.on-link", "long target and attribute")
	m.xattr("fifo", "trusted.on-fifo", "")
	m.acl("deep", "system.posix_acl_default")
	m.acl("text", "system.posix_acl_access")
}

// acl lets user 4711 read.
func (m maker) acl(name, attr string) {
	m.t.Helper()
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, 4, 4711}, {4, 4, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
		list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
		list = binary.LittleEndian.AppendUint32(list, e[2])
	}
	m.xattr(name, attr, string(list))
}

// times gives every entry a time of its own, with nanoseconds, deepest first.
func (m maker) times() {
	m.t.Helper()
	var names []string
	m.must(filepath.WalkDir(m.root, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	for i, path := range slices.Backward(names) {
		spec := []unix.Timespec{{Sec: at.Unix(), Nsec: 789}, {Sec: at.Unix() + int64(i)*1000, Nsec: 789}}
		m.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, spec, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// fact is all of an entry that has to survive.
type fact struct {
	Mode, UID, GID     uint32
	Major, Minor, Link uint32 // Link is the number of names; 0 for directories
	Size, Mtime        int64
	Target             string
	Content            string // hash of it
	SameAs             string // first other name of the same file
	Xattrs             map[string]string
}

// factsOf reads a tree. Sockets are not in it, for they can't be packed.
func factsOf(t *testing.T, root string) map[string]fact {
	t.Helper()
	m := maker{t, root}
	facts := make(map[string]fact)
	first := make(map[uint64]string)
	m.must(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() == fs.ModeSocket {
			return err
		}
		name, err := filepath.Rel(root, path)
		m.must(err)
		facts[name] = m.fact(path, name, first)
		return nil
	}))
	return facts
}

func (m maker) fact(path, name string, first map[uint64]string) fact {
	m.t.Helper()
	var st unix.Stat_t
	m.must(unix.Lstat(path, &st))
	f := fact{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Sec, Xattrs: make(map[string]string)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := os.ReadFile(path)
		m.must(err)
		f.Size, f.Content = st.Size, fmt.Sprintf("%x", sha256.Sum256(content))
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		m.must(err)
		f.Target = target
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Major, f.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		f.Link, f.SameAs = uint32(st.Nlink), first[st.Ino]
		if f.SameAs == "" {
			first[st.Ino] = name
		}
	}
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.EOPNOTSUPP) { // a squashfs without any
		return f
	}
	m.must(err)
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if attr == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, attr, value)
		m.must(err)
		f.Xattrs[attr] = string(value[:n])
	}
	return f
}
