package proc

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A restricted process can't, until it ends, do some things that need no privilege and
// lead out of a jail all the same:
//
//   - make a file set-user-ID. It may own files of the host, by a mount that maps
//     owners; a program that it writes into one would run as the file's owner there.
//   - use the kernel's keyrings. It has inherited the session's, and so possesses the
//     keys of whoever has started it.
//   - make user namespaces, in which it would be root and could reach parts of the
//     kernel that are for root only.
//
// Whatever is called through another ABI of the machine is refused as well, since the
// numbers have another meaning there.

// rule refuses a system call.
type rule struct {
	call uint32
	// arg and bits say that it is refused only if one of the bits of an argument is set.
	// The bits are in its lower half. No bits: always.
	arg, bits uint32
	errno     unix.Errno
}

const setID = unix.S_ISUID | unix.S_ISGID

// rules are the refusals. Those of the architecture are in rulesHere.
func rules(clone3 bool) []rule {
	all := append([]rule{
		{unix.SYS_FCHMOD, 1, setID, unix.EPERM},
		{unix.SYS_FCHMODAT, 2, setID, unix.EPERM},
		{unix.SYS_FCHMODAT2, 2, setID, unix.EPERM},
		{unix.SYS_KEYCTL, 0, 0, unix.EPERM},
		{unix.SYS_ADD_KEY, 0, 0, unix.EPERM},
		{unix.SYS_REQUEST_KEY, 0, 0, unix.EPERM},
		{unix.SYS_UNSHARE, 0, unix.CLONE_NEWUSER, unix.EPERM},
		{unix.SYS_CLONE, 0, unix.CLONE_NEWUSER, unix.EPERM},
	}, rulesHere...)
	if !clone3 {
		// Its flags are in memory, where a filter can't look. Programs take clone instead.
		all = append(all, rule{unix.SYS_CLONE3, 0, 0, unix.ENOSYS})
	}
	return all
}

// Where a filter finds things, see struct seccomp_data of seccomp(2).
const (
	atCall = 0
	atArch = 4
	atArgs = 16
)

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func jump(condition uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | condition, K: k, Jt: yes, Jf: no}
}

func answer(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}

func refusal(errno unix.Errno) unix.SockFilter {
	return answer(unix.SECCOMP_RET_ERRNO | uint32(errno))
}

// filter compiles rules.
func filter(rules []rule) []unix.SockFilter {
	allow := answer(unix.SECCOMP_RET_ALLOW)
	program := slices.Concat([]unix.SockFilter{
		load(atArch), jump(unix.BPF_JEQ, archHere, 1, 0), refusal(unix.ENOSYS),
		load(atCall),
	}, otherABI)
	for _, r := range rules {
		if r.bits == 0 {
			program = append(program, jump(unix.BPF_JEQ, r.call, 0, 1), refusal(r.errno))
			continue
		}
		program = append(program, jump(unix.BPF_JEQ, r.call, 0, 4),
			load(atArgs+8*r.arg), jump(unix.BPF_JSET, r.bits, 0, 1), refusal(r.errno), allow)
	}
	return append(program, allow)
}

// restrict puts the calling thread, and what it starts, under the filter. It takes
// CAP_SYS_ADMIN.
func restrict(clone3 bool) error {
	code := filter(rules(clone3))
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
