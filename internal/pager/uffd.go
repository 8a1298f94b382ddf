package pager

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From the kernel's include/uapi/linux/userfaultfd.h. The numbers of the calls are those of
// the machines with the usual layout of ioctl numbers, amd64 and arm64 among them.
const (
	deviceNew = 0xaa00     // USERFAULTFD_IOC_NEW, of /dev/userfaultfd
	ioAPI     = 0xc018aa3f // UFFDIO_API
	ioWake    = 0x8010aa02 // UFFDIO_WAKE
	ioCopy    = 0xc028aa03 // UFFDIO_COPY
	ioZero    = 0xc020aa04 // UFFDIO_ZEROPAGE

	apiVersion = 0xaa // UFFD_API

	featureRemove    = 1 << 3 // UFFD_FEATURE_EVENT_REMOVE
	featureHugePages = 1 << 4 // UFFD_FEATURE_MISSING_HUGETLBFS

	eventFault  = 0x12 // UFFD_EVENT_PAGEFAULT
	eventFork   = 0x13 // UFFD_EVENT_FORK
	eventRemove = 0x15 // UFFD_EVENT_REMOVE

	flagsPresent = 1<<1 | 1<<2 // UFFD_PAGEFAULT_FLAG_WP and _MINOR: faults on pages that are there

	messageSize = 32 // of struct uffd_msg
)

// uffd is the descriptor of a userfaultfd.
type uffd int

// message is a struct uffd_msg.
type message [messageSize]byte

func (m *message) event() byte { return m[0] }

// word returns the nth of the numbers that come after the head.
func (m *message) word(n int) uint64 { return binary.NativeEndian.Uint64(m[8+8*n:]) }

// read takes as many events as there are and fit. None is no error.
func (u uffd) read(into []message) (int, error) {
	for {
		n, err := unix.Read(int(u), unsafe.Slice(&into[0][0], len(into)*messageSize))
		switch {
		case err == nil:
			return n / messageSize, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case !errors.Is(err, unix.EINTR):
			return 0, os.NewSyscallError("read userfaultfd", err)
		}
	}
}

// fill gives the pages at dst the content of what is mapped here at src, and wakes who
// waits for them. It returns how many bytes it has filled, and no error if there are any:
// what kept it from going on is told by the next call.
func (u uffd) fill(dst, src, length uint64) (uint64, error) {
	args := struct {
		dst, src, length, mode uint64
		done                   int64
	}{dst: dst, src: src, length: length}
	err := u.ioctl(ioCopy, unsafe.Pointer(&args))
	return filled(args.done, err)
}

// zero is fill with zeros. Huge pages can't be filled by it.
func (u uffd) zero(dst, length uint64) (uint64, error) {
	args := struct {
		dst, length, mode uint64
		done              int64
	}{dst: dst, length: length}
	err := u.ioctl(ioZero, unsafe.Pointer(&args))
	return filled(args.done, err)
}

// filled reads the answer to both: a part that was filled comes with EAGAIN, and so does
// nothing at all because of an event that has to be read first.
func filled(done int64, err error) (uint64, error) {
	if done > 0 {
		return uint64(done), nil
	}
	return 0, err
}

// wake has whoever waits for a page look again.
func (u uffd) wake(start, length uint64) error {
	args := struct{ start, length uint64 }{start, length}
	return os.NewSyscallError("wake", u.ioctl(ioWake, unsafe.Pointer(&args)))
}

func (u uffd) ioctl(call uintptr, args unsafe.Pointer) error {
	// The arguments hold addresses as numbers, of memory that is not Go's.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(u), call, uintptr(args))
	if errno != 0 {
		return errno
	}
	return nil
}

// enable makes a new userfaultfd usable. The error is EINVAL if the kernel lacks a feature.
func (u uffd) enable(features uint64) error {
	args := struct{ api, features, ioctls uint64 }{api: apiVersion, features: features}
	return u.ioctl(ioAPI, unsafe.Pointer(&args))
}

// isUffd reports whether a descriptor that somebody sent is what he says: what is done to
// it would mean something else to another kind of file.
func isUffd(fd int) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return err == nil && name == "anon_inode:[userfaultfd]"
}
