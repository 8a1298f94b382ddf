package pager

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is a snapshot's memory file. It is mapped, and nothing here ever reads the
// mapping: it is only given to the kernel as the source of pages, which fails with EFAULT
// where the file has been truncated or can't be read. A read by us would be a SIGBUS.
type memory struct {
	file *os.File
	data []byte
	was  unix.Stat_t
}

func openMemory(f *os.File) (*memory, error) {
	m := &memory{file: f}
	if err := unix.Fstat(int(f.Fd()), &m.was); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if m.was.Mode&unix.S_IFMT != unix.S_IFREG || m.was.Size == 0 {
		return nil, errors.New("the memory file is no regular file with content")
	}
	var err error
	m.data, err = unix.Mmap(int(f.Fd()), 0, int(m.was.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return m, nil
}

func (m *memory) size() uint64 { return uint64(m.was.Size) }

// at returns where a byte of the file is mapped.
func (m *memory) at(offset uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))) + offset
}

// check fails when the file is not what it was. Who asks after he has used it knows then
// that what he has used was right.
func (m *memory) check() error {
	var now unix.Stat_t
	if err := unix.Fstat(int(m.file.Fd()), &now); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if now.Size != m.was.Size || now.Mtim != m.was.Mtim {
		return fmt.Errorf("the memory file was changed while it was in use: it had %d bytes and has %d", m.was.Size, now.Size)
	}
	return nil
}

// prepare has the kernel bring pages of the file into its cache and into our page tables.
// It waits for the disk. That the file has been truncated is for others to notice.
func (m *memory) prepare(offset, length uint64) {
	_ = unix.Madvise(m.data[offset:offset+length], unix.MADV_POPULATE_READ)
}

func (m *memory) close() error { return os.NewSyscallError("munmap", unix.Munmap(m.data)) }
