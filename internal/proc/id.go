package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// ID names one process for as long as the machine runs and beyond: a pid alone
// is used again, a pid with one of the numbers and the boot is not.
type ID struct {
	PID int `json:"pid"`
	// Inode is that of the pidfds of the process, which no other process of this
	// boot has. It is 0 before Linux 6.9, where all pidfds have the same.
	Inode uint64 `json:"inode,omitzero"`
	// StartTime stands in for it, in clock ticks since boot (field 22 of
	// /proc/PID/stat, proc(5)). Reading it costs a start a twentieth of its
	// processor time.
	StartTime uint64 `json:"start_time,omitzero"`
	BootID    string `json:"boot_id"`
}

// IsZero reports whether the ID names no process.
func (id ID) IsZero() bool { return id.PID == 0 }

// String returns "process 123".
func (id ID) String() string { return "process " + strconv.Itoa(id.PID) }

// errGone says that a process does not exist (any more), or only as a zombie.
var errGone = fmt.Errorf("no such process: %w", fs.ErrNotExist)

// openPID opens the process that has this pid now.
func openPID(pid int) (pidfd int, err error) {
	pidfd, err = unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, errGone
	}
	return pidfd, os.NewSyscallError("pidfd_open", err)
}

// openID opens the process that has this ID. The error is errGone when it has been
// reaped, even if its pid is in use by another process.
func openID(id ID) (pidfd int, err error) {
	if !id.ofThisBoot() {
		return 0, errGone
	}
	if pidfd, err = openPID(id.PID); err != nil {
		return 0, err
	}
	// The pidfd pins whatever process has the pid; now see whether it is this one.
	now, err := identify(id.PID, pidfd, id.Inode != 0)
	if err == nil && now != id {
		err = errGone
	}
	if err != nil {
		return 0, errors.Join(err, unix.Close(pidfd))
	}
	return pidfd, nil
}

// ofThisBoot reports whether there can be such a process.
func (id ID) ofThisBoot() bool { return !id.IsZero() && id.BootID == BootID() }

// identify returns the ID of the process that pidfd is about. One that has been
// waited for is errGone if it can be told.
func identify(pid, pidfd int, byInode bool) (ID, error) {
	id := ID{PID: pid, BootID: BootID()}
	if byInode {
		var st unix.Stat_t
		err := unix.Fstat(pidfd, &st)
		id.Inode = st.Ino
		return id, os.NewSyscallError("fstat", err)
	}
	stat, err := readStat(pid)
	if err != nil {
		return ID{}, err
	}
	id.StartTime, err = strconv.ParseUint(stat.Field(22), 10, 64)
	return id, err
}

// hasInodes reports whether pidfds lie in pidfs, where each process has an inode
// with a number of its own.
var hasInodes = sync.OnceValue(func() bool {
	pidfd, err := openPID(os.Getpid())
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(pidfd) }()
	var fsys unix.Statfs_t
	return unix.Fstatfs(pidfd, &fsys) == nil && fsys.Type == unix.PID_FS_MAGIC
})

// Stat are the fields of /proc/PID/stat from the third on, see proc(5).
type Stat []string

// ParseStat reads the text of a stat file.
func ParseStat(text []byte) (Stat, error) {
	// The second field is the program's name in parentheses and may hold anything.
	fields := Stat(strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])))
	if len(fields) < 50 {
		return nil, fmt.Errorf("a stat file has %d fields", len(fields)+2)
	}
	return fields, nil
}

// Field returns a field by its number in proc(5), from 3 to 52.
func (s Stat) Field(n int) string { return s[n-3] }

func readStat(pid int) (Stat, error) {
	text, err := plainfile.Read("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	return ParseStat(text)
}

// BootID is the kernel's boot_id, "" where it can't be read. It can't change
// while this process lives.
var BootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// File identifies an open file of this boot.
type File struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Identify returns what identifies f.
func Identify(f *os.File) (File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return File{}, os.NewSyscallError("fstat", err)
	}
	return File{Dev: st.Dev, Ino: st.Ino}, nil
}

// FindByStdin lists the processes that have f as their standard input. A child
// is given an input of its own, so that it can be found even if its parent died
// before it could write down the pid.
func FindByStdin(f File) ([]ID, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []ID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		// Processes come and go, and those of other users can't be looked into.
		if unix.Stat("/proc/"+e.Name()+"/fd/0", &st) != nil || (File{st.Dev, st.Ino}) != f {
			continue
		}
		if id, err := identifyPID(pid); err == nil {
			found = append(found, id)
		}
	}
	return found, nil
}

// identifyPID returns the ID of the process that has this pid now.
func identifyPID(pid int) (ID, error) {
	pidfd, err := openPID(pid)
	if err != nil {
		return ID{}, err
	}
	defer func() { _ = unix.Close(pidfd) }()
	return identify(pid, pidfd, hasInodes())
}
