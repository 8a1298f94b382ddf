package stage

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"

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
// stays with that way for the rest of the copy, unless the last one is faster here:
// since ext4 has large folios (Linux 6.16) writing a buffer takes it a seventh less than
// what the kernel does by itself, page by page. Who copies much finds that out.
type mover struct {
	in, out *os.File
	ways    []way
	buffer  []byte
	race    race
}

// raceLength is how much each of two ways moves until they are compared, in bytes.
const raceLength = 16 << 20

// race compares the way that was found with the last one.
type race struct {
	legs  [2]leg
	leg   int   // that is being run
	first []way // those of the first leg
	over  bool
}

type leg struct {
	moved int64
	took  time.Duration
}

// pace is how much is moved in a second.
func (l leg) pace() float64 { return float64(l.moved) / l.took.Seconds() }

func newMover(in, out *os.File) *mover { return &mover{in: in, out: out, ways: ways} }

func (m *mover) method() Method { return m.ways[0].method }

// move may move less than length, but never nothing.
func (m *mover) move(offset, length int64) (int64, error) {
	began := time.Now()
	n, err := m.moveOnce(offset, length)
	if err == nil && !m.race.over {
		m.run(n, time.Since(began))
	}
	return n, err
}

// run tells the race how long a move took, and has the winner go on.
func (m *mover) run(n int64, took time.Duration) {
	const lead = 1.05 // a tie is the kernel's
	r := &m.race
	l := &r.legs[r.leg]
	l.moved, l.took = l.moved+n, l.took+took
	switch {
	case l.moved < raceLength:
	case r.leg > 0:
		r.over = true
		if l.pace() < lead*r.legs[0].pace() {
			m.ways = r.first
		}
	case len(m.ways) < 2:
		r.over = true // there is nobody to run against
	default:
		r.leg, r.first = 1, m.ways
		m.ways = m.ways[len(m.ways)-1:]
	}
}

func (m *mover) moveOnce(offset, length int64) (int64, error) {
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
