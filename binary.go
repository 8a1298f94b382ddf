package smartvm

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/image"
)

// binaryCache remembers the last binary as long as its file stays the same:
// asking it for its version takes as long as half a boot.
type binaryCache struct {
	turn   chan struct{} // holds one token: whoever looks has it, so that concurrent callers share one look
	binary image.Binary
	stamp  stamp
}

// stamp changes when a file is replaced or written to.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// EnsureBinary returns a Firecracker that can be trusted and runs here: the one
// that the options name, else the one in PATH, else the newest below the data
// directory. Concurrent callers share one search. Errors: BINARY_NOT_FOUND,
// BINARY_UNUSABLE.
func (m *Manager) EnsureBinary(ctx context.Context) (image.Binary, error) {
	c := &m.binary
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return image.Binary{}, context.Cause(ctx)
	}
	if c.binary.Path != "" {
		if now, err := stampOf(c.binary.Path); err == nil && now == c.stamp {
			return c.binary, nil
		}
	}
	b, err := image.Find(ctx, m.opts.FirecrackerPath, m.DataDir(), m.opts.FirecrackerVersion)
	if err != nil {
		return image.Binary{}, err
	}
	if c.stamp, err = stampOf(b.Path); err != nil {
		return image.Binary{}, err
	}
	c.binary = b
	return b, nil
}
