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
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pause"
)

// ErrChanged is matched by the error about a file that was written to while it was read.
var ErrChanged = errors.New("the file changed while it was read")

// Memory remembers hashes for as long as the file stays the same: its device,
// inode, size, mtime and ctime. Whatever writes to a file changes its ctime, which
// can't be set. There is one hash for each name that files were opened with, that
// of the last one. The zero value is ready to use, from several goroutines.
type Memory struct {
	mu    sync.Mutex
	known map[string]entry // by the name of the open file
}

type entry struct {
	stamp  stamp
	sha256 string
}

// stamp changes when the content behind a name may have changed.
type stamp struct {
	device, inode uint64
	size          int64
	mtime, ctime  unix.Timespec
}

// SHA256 returns the hash of all of f, which is open for reading, as 64 lower-case
// hexadecimal digits. The file is read only if it is not known; its offset stays.
// The error matches [ErrChanged] when the file was changed meanwhile.
func (m *Memory) SHA256(ctx context.Context, f *os.File) (string, error) {
	now, err := look(f)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	known, ok := m.known[f.Name()]
	m.mu.Unlock()
	if ok && known.stamp == now {
		return known.sha256, nil
	}
	return m.Afresh(ctx, f)
}

// Afresh is SHA256, but reads the file whatever is known.
func (m *Memory) Afresh(ctx context.Context, f *os.File) (string, error) {
	before, err := look(f)
	if err != nil {
		return "", err
	}
	lasting := before.settle(ctx)
	sum, err := Sum(ctx, io.NewSectionReader(f, 0, before.size))
	if err != nil {
		return "", err
	}
	switch after, err := look(f); {
	case err != nil:
		return "", err
	case after != before:
		return "", &fs.PathError{Op: "hash", Path: f.Name(), Err: ErrChanged}
	}
	if lasting {
		m.remember(f.Name(), entry{before, sum})
	}
	return sum, nil
}

// Learn takes over the hash of f from somebody who has just verified its content
// on the way to its place.
func (m *Memory) Learn(ctx context.Context, f *os.File, sha256 string) error {
	now, err := look(f)
	if err == nil && now.settle(ctx) {
		m.remember(f.Name(), entry{now, sha256})
	}
	return err
}

func (m *Memory) remember(name string, e entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[string]entry)
	}
	m.known[name] = e
}

func look(f *os.File) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return stamp{device: st.Dev, inode: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
}

// settle waits until a later write to the file would show, and reports whether it
// would. The times of a file come from a clock that moves some 100 to 1000 times a
// second: within the step in which a file was changed, it can be changed again
// without a trace.
func (s stamp) settle(ctx context.Context) bool {
	const tries, step = 20, time.Millisecond
	for range tries {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return false
		}
		if now.Nano() > s.ctime.Nano() {
			return true
		}
		if pause.For(ctx, step) != nil {
			return false
		}
	}
	return false // the clock was set back
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
