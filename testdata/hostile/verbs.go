package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// try does what a verb says.
func try(verb string, args []string) (string, error) {
	f, known := verbs[verb]
	if !known {
		return "", errors.New("no verb " + verb)
	}
	arg := make([]string, 4) // missing ones are empty
	copy(arg, args)
	return f(arg)
}

func number(text string) int {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return 0
	}
	return int(n)
}

// only is a verb that finds out nothing.
func only(f func(a []string) error) func([]string) (string, error) {
	return func(a []string) (string, error) { return "", f(a) }
}

func opened(flags int) func([]string) (string, error) {
	return func(a []string) (string, error) {
		fd, err := unix.Open(a[0], flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		if flags != unix.O_RDONLY {
			return "", nil
		}
		text := make([]byte, 64)
		n, err := unix.Read(fd, text)
		return strconv.Quote(strings.TrimRight(string(text[:max(n, 0)]), "\x00\n")), err
	}
}

// held is the descriptor of what is kept open.
const held = 40

func hold(a []string) error {
	fd, err := unix.Open(a[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Dup3(fd, held, unix.O_CLOEXEC)
}

// raw is a system call of which only the error counts.
func raw(call uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(call, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// verbs are what it can be told to try.
var verbs = map[string]func(a []string) (string, error){
	"read":   opened(unix.O_RDONLY),
	"write":  opened(unix.O_WRONLY),
	"create": opened(unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL),
	"hold":   only(hold), // PATH, for writing, by descriptor 40
	"drop":   only(func([]string) error { return unix.Close(held) }),
	"node": only(func(a []string) error { // PATH MODE MAJOR MINOR
		return unix.Mknod(a[0], uint32(number(a[1])), int(unix.Mkdev(uint32(number(a[2])), uint32(number(a[3])))))
	}),
	"mkdir":   only(func(a []string) error { return unix.Mkdir(a[0], 0o700) }),
	"remove":  only(func(a []string) error { return os.RemoveAll(a[0]) }),
	"link":    only(func(a []string) error { return unix.Link(a[0], a[1]) }),
	"symlink": only(func(a []string) error { return unix.Symlink(a[0], a[1]) }),
	"rename":  only(func(a []string) error { return unix.Rename(a[0], a[1]) }),
	"chmod":   only(func(a []string) error { return raw(unix.SYS_FCHMODAT, at, path(a[0]), uintptr(number(a[1]))) }),
	"chown":   only(func(a []string) error { return unix.Lchown(a[0], number(a[1]), number(a[1])) }),
	"handle": only(func(a []string) error { // every file by its number
		fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.OpenByHandleAt(fd, unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY)
		return err
	}),
	"list": func(a []string) (string, error) {
		names, err := filepath.Glob(a[0])
		return strings.Join(names, ","), err
	},
	"signal":  only(func(a []string) error { return unix.Kill(number(a[0]), unix.Signal(number(a[1]))) }),
	"trace":   only(func(a []string) error { return raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(number(a[0]))) }),
	"setuid":  only(func(a []string) error { return unix.Setresuid(number(a[0]), number(a[0]), number(a[0])) }),
	"setgid":  only(func(a []string) error { return unix.Setresgid(number(a[0]), number(a[0]), number(a[0])) }),
	"groups":  only(func(a []string) error { return unix.Setgroups([]int{number(a[0])}) }),
	"mount":   only(func(a []string) error { return unix.Mount(a[0], a[1], a[2], 0, "") }),
	"remount": only(func(a []string) error { return unix.Mount("", a[0], "", unix.MS_REMOUNT|unix.MS_BIND, "") }),
	"umount":  only(func(a []string) error { return unix.Unmount(a[0], unix.MNT_DETACH) }),
	"chroot":  only(func(a []string) error { return unix.Chroot(a[0]) }),
	"unshare": only(func(a []string) error { return unix.Unshare(number(a[0])) }),
	"clone3":  only(func([]string) error { return raw(unix.SYS_CLONE3, 0, 0) }),
	"module":  only(func([]string) error { return raw(unix.SYS_FINIT_MODULE, 0, path(""), 0) }),
	"keys": func([]string) (string, error) {
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return strconv.Itoa(id), err
	},
	"addkey": only(func([]string) error {
		_, err := unix.AddKey("user", "smartvm-test", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
		return err
	}),
	"segment":  only(func([]string) error { return raw(unix.SYS_SHMGET, 0, 4096, 0o600|unix.IPC_CREAT) }),
	"queue":    only(func(a []string) error { return raw(unix.SYS_MQ_OPEN, path(a[0]), unix.O_CREAT|unix.O_RDWR, 0o600, 0) }),
	"hostname": only(func(a []string) error { return unix.Sethostname([]byte(a[0])) }),
	"clock":    only(func([]string) error { return unix.Settimeofday(&unix.Timeval{}) }),
	"bpf":      only(func([]string) error { return raw(unix.SYS_BPF, 5, path(strings.Repeat("\x00", 128)), 128) }),
	"nice":     only(func(a []string) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, number(a[0])) }),
	"files": only(func(a []string) error {
		n := uint64(number(a[0]))
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n})
	}),
	"listen":  only(func(a []string) error { return listen(&unix.SockaddrInet4{Port: number(a[0])}, unix.AF_INET) }),
	"serve":   only(func(a []string) error { return listen(&unix.SockaddrUnix{Name: a[0]}, unix.AF_UNIX) }),
	"connect": only(func(a []string) error { return connect(&unix.SockaddrUnix{Name: a[0]}, unix.AF_UNIX) }),
	"dial": only(func(a []string) error {
		return connect(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: number(a[0])}, unix.AF_INET)
	}),
	"packet": only(func([]string) error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err }),
	"tap":    only(func(a []string) error { return tap(a[0]) }),
	"who": func([]string) (string, error) {
		return fmt.Sprint(unix.Getuid(), unix.Geteuid(), unix.Getgid(), unix.Getpid()), nil
	},
	"caps":    func([]string) (string, error) { return capabilities() },
	"environ": func([]string) (string, error) { return strconv.Itoa(len(os.Environ())), nil },
	"descriptors": func([]string) (string, error) {
		var open []string
		for fd := range 64 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && !ours(fd) {
				open = append(open, strconv.Itoa(fd))
			}
		}
		return strings.Join(open, ","), nil
	},
	"flood": flood, // PATH or "fd:N", MiB
	"deep":  only(func(a []string) error { return deep(a[0], number(a[1])) }),
	"spawn": only(spawn), // MARK
	"exit":  only(func(a []string) error { unix.Exit(number(a[0])); return nil }),
}

const at = ^uintptr(99) // AT_FDCWD, -100

func path(text string) uintptr {
	p, err := unix.BytePtrFromString(strings.TrimRight(text, "\x00"))
	if err != nil || strings.HasPrefix(text, "\x00") {
		p = &make([]byte, len(text)+1)[0]
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

// kept are the strings whose addresses system calls were given.
var kept []*byte

// ours reports whether this program has opened the descriptor: Go's runtime polls and wakes
// with some, and others are of the API.
func ours(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true
	}
	if name, err := unix.Getsockname(fd); err == nil {
		local, isUnix := name.(*unix.SockaddrUnix)
		return isUnix && local.Name == apiSocket
	}
	return st.Mode&unix.S_IFMT == 0 // an anonymous inode
}

func listen(address unix.Sockaddr, family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, address); err != nil {
		_ = unix.Close(fd)
		return err
	}
	return unix.Listen(fd, 1) // and stays open
}

func connect(address unix.Sockaddr, family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, address)
}

func tap(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

func capabilities() (string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x:%x", data[1].Effective|data[1].Permitted|data[1].Inheritable, data[0].Effective|data[0].Permitted|data[0].Inheritable), nil
}

// flood writes so many MiB, and tells how many bytes went through.
func flood(a []string) (string, error) {
	var fd int
	limit := number(a[1]) << 20
	if text, given := strings.CutPrefix(a[0], "fd:"); given {
		fd = number(text)
	} else {
		var err error
		if fd, err = unix.Open(a[0], unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o600); err != nil {
			return "", err
		}
		defer unix.Close(fd)
	}
	line := []byte(strings.Repeat(strings.Repeat("x", 127)+"\n", 512))
	written := 0
	for written < limit {
		n, err := unix.Write(fd, line)
		if err != nil {
			return "", err
		}
		written += n
	}
	return strconv.Itoa(written), nil
}

// deep makes so many directories, each in the one before it.
func deep(base string, n int) error {
	dir, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range n {
		if err != nil {
			break
		}
		if err = unix.Mkdirat(dir, "d", 0o700); err == nil {
			var next int
			next, err = unix.Openat(dir, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			_ = unix.Close(dir)
			dir = next
		}
	}
	return err
}

// spawn leaves a process behind that is in a session of its own and nobody's child.
func spawn(a []string) error {
	self := os.Args[0]
	p, err := os.StartProcess(self, []string{self, "linger", a[0]}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	return p.Release()
}
