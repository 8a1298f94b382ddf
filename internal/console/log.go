package console

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// DefaultLimit bounds the log of one VM, in bytes.
const DefaultLimit = 1 << 20

// The log is a row of segments in the VM's directory. A segment's name has the
// position of its first byte in all that the guest ever wrote, so a reader knows where it is
// without any further state, and notices when it has fallen behind. There are
// at most two segments of half the limit each: the oldest output goes first.
const (
	segmentPrefix = "console-"
	segmentSuffix = ".log"
	endName       = "console.end" // exists once nothing will be added any more
)

type segment struct {
	path  string
	start int64
}

func segmentPath(dir string, start int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%020d%s", segmentPrefix, start, segmentSuffix))
}

// segments lists the log's files, oldest first.
func segments(dir string) ([]segment, error) {
	names, err := plainfile.Names(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, name := range names {
		digits, ours := strings.CutPrefix(name, segmentPrefix)
		digits, whole := strings.CutSuffix(digits, segmentSuffix)
		if !ours || !whole {
			continue
		}
		start, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || start < 0 {
			continue
		}
		list = append(list, segment{filepath.Join(dir, name), start})
	}
	slices.SortFunc(list, func(a, b segment) int { return int(min(max(a.start-b.start, -1), 1)) })
	return list, nil
}

// writer appends to a log. It is an io.Writer for one goroutine.
type writer struct {
	dir   string
	limit int64 // of one segment
	file  *os.File
	at    atomic.Int64 // start of the current segment; readers look at it
	size  int64
}

// openWriter continues the log in dir, or begins a fresh one.
func openWriter(dir string, limit int64, fresh bool) (*writer, error) {
	w := &writer{dir: dir, limit: max(limit/2, 1)}
	if fresh {
		return w, w.open(0)
	}
	list, err := segments(dir)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return w, w.open(0)
	}
	return w, w.open(list[len(list)-1].start)
}

func (w *writer) open(start int64) error {
	f, err := plainfile.Open(segmentPath(w.dir, start), unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.size = f, size
	w.at.Store(start)
	return nil
}

// Write appends p and keeps the log within its limit.
func (w *writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if w.size >= w.limit {
			if err := w.rotate(); err != nil {
				return written, err
			}
		}
		n, err := w.file.Write(p[:min(int64(len(p)), w.limit-w.size)])
		w.size += int64(n)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// rotate starts a new segment and removes all but the one before it.
func (w *writer) rotate() error {
	full, next := w.file, w.at.Load()+w.size
	if err := w.open(next); err != nil {
		return err
	}
	list, err := segments(w.dir)
	if err != nil {
		return errors.Join(err, full.Close())
	}
	for _, s := range list[:max(len(list)-2, 0)] {
		err = errors.Join(err, os.Remove(s.path))
	}
	return errors.Join(err, full.Close())
}

// finish says that nothing will be added any more.
func (w *writer) finish() error {
	return os.WriteFile(filepath.Join(w.dir, endName), nil, 0o600)
}

func (w *writer) close() error { return w.file.Close() }

func finished(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, endName))
	return err == nil || errors.Is(err, fs.ErrNotExist) && !exists(dir)
}

func exists(dir string) bool {
	_, err := os.Lstat(dir)
	return err == nil
}
