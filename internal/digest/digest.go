// Package digest knows what files hash to, and hashes each of them only once.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrChanged is matched by the error about a file that was written to while it was read.
var ErrChanged = errors.New("the file changed while it was read")

// Memory remembers hashes for as long as the file stays the same: its device,
// inode, size, mtime and ctime. Whatever writes to a file changes its ctime, which
// can't be set. The zero value is ready to use, from several goroutines.
type Memory struct {
	mu    sync.Mutex
	known map[inode]entry
}

type inode struct{ device, number uint64 }

type entry struct {
	stamp  stamp
	sha256 string
}

// stamp changes when the content of a file may have changed.
type stamp struct {
	size         int64
	mtime, ctime unix.Timespec
}

// SHA256 returns the hash of all of f, which is open for reading, as 64 lower-case
// hexadecimal digits. The file is read only if it is not known; its offset stays.
func (m *Memory) SHA256(ctx context.Context, f *os.File) (string, error) {
	id, now, err := look(f)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	known, ok := m.known[id]
	m.mu.Unlock()
	if ok && known.stamp == now {
		return known.sha256, nil
	}
	return m.Afresh(ctx, f)
}

// Afresh is SHA256, but reads the file whatever is known.
func (m *Memory) Afresh(ctx context.Context, f *os.File) (string, error) {
	id, before, err := look(f)
	if err != nil {
		return "", err
	}
	lasting, err := before.lasting()
	if err != nil {
		return "", err
	}
	sum, err := Sum(ctx, io.NewSectionReader(f, 0, before.size))
	if err != nil {
		return "", err
	}
	switch _, after, err := look(f); {
	case err != nil:
		return "", err
	case after != before:
		return "", &fs.PathError{Op: "hash", Path: f.Name(), Err: ErrChanged}
	}
	if !lasting {
		return sum, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[inode]entry)
	}
	m.known[id] = entry{before, sum}
	return sum, nil
}

func look(f *os.File) (inode, stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return inode{}, stamp{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return inode{st.Dev, st.Ino}, stamp{st.Size, st.Mtim, st.Ctim}, nil
}

// lasting reports whether a later write would show. The times of a file come from
// a clock that moves some hundred times a second: within the step in which a file
// was changed, it can be changed again without a trace.
func (s stamp) lasting() (bool, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return false, os.NewSyscallError("clock_gettime", err)
	}
	return now.Nano() > max(s.mtime.Nano(), s.ctime.Nano()), nil
}

// chunk fits the second-level cache of a processor, with what else is there.
const chunk = 256 << 10

// Sum reads r to its end, or until ctx ends, and returns the SHA-256 of it as 64
// lower-case hexadecimal digits.
func Sum(ctx context.Context, r io.Reader) (string, error) {
	hash, buf := sha256.New(), make([]byte, chunk)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := r.Read(buf)
		_, _ = hash.Write(buf[:n]) // it never fails
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
