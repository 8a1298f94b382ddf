package stage

import (
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// way moves up to length bytes at offset from one file to the other.
type way struct {
	method Method
	move   func(m *mover, offset, length int64) (int64, error)
}

// ways are tried in this order; BenchmarkWays compares them.
var ways = []way{
	{CopyFileRange, (*mover).copyFileRange},
	{Sendfile, (*mover).sendfile},
	{ReadWrite, (*mover).readWrite},
}

// mover moves extents by the first way that the two file systems agree to. It
// stays with that way for the rest of the copy.
type mover struct {
	in, out *os.File
	ways    []way
	buffer  []byte
}

func newMover(in, out *os.File) *mover { return &mover{in: in, out: out, ways: ways} }

func (m *mover) method() Method { return m.ways[0].method }

// move may move less than length, but never nothing.
func (m *mover) move(offset, length int64) (int64, error) {
	for {
		n, err := m.ways[0].move(m, offset, length)
		switch {
		case errors.Is(err, unix.EINTR):
		case n > 0:
			return n, nil
		case len(m.ways) > 1 && (err == nil || notThisWay(err)):
			m.ways = m.ways[1:]
		case err == nil:
			return 0, errChanged // it ends before its size
		default:
			return 0, err
		}
	}
}

func notThisWay(err error) bool {
	return slices.ContainsFunc([]error{unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM},
		func(e error) bool { return errors.Is(err, e) })
}

func (m *mover) copyFileRange(offset, length int64) (int64, error) {
	from, to := offset, offset
	n, err := unix.CopyFileRange(int(m.in.Fd()), &from, int(m.out.Fd()), &to, int(length), 0)
	return int64(n), err
}

func (m *mover) sendfile(offset, length int64) (int64, error) {
	// sendfile(2) takes an offset for its source only.
	if _, err := m.out.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := unix.Sendfile(int(m.out.Fd()), int(m.in.Fd()), &offset, int(length))
	return int64(n), err
}

// bufferSize fits the second-level cache of common processors.
const bufferSize = 256 << 10

func (m *mover) readWrite(offset, length int64) (int64, error) {
	if m.buffer == nil {
		m.buffer = make([]byte, bufferSize)
	}
	var moved int64
	for moved < length {
		n, err := m.in.ReadAt(m.buffer[:min(length-moved, bufferSize)], offset+moved)
		if n > 0 {
			if _, err := m.out.WriteAt(m.buffer[:n], offset+moved); err != nil {
				return 0, err
			}
			moved += int64(n)
			continue
		}
		if errors.Is(err, io.EOF) {
			return moved, nil
		}
		return 0, err
	}
	return moved, nil
}
