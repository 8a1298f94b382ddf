package smartvm

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

// binaryCache remembers the binary of each version that was asked for as long as
// its file stays the same: asking it for its version takes as long as half a boot.
type binaryCache struct {
	mu    sync.Mutex
	found map[firecracker.Version]*foundBinary
}

// foundBinary is what one version was found to be.
type foundBinary struct {
	turn   chan struct{} // holds one token: whoever looks has it, so that concurrent callers share one look
	binary image.Binary
	file   seenFile
	jailer seenFile // that of the binary, once it was asked for
}

// seenFile is a file, and what it was when it was looked at.
type seenFile struct {
	path  string
	stamp stamp
}

func see(path string) (seenFile, error) {
	stamp, err := stampOf(path)
	return seenFile{path, stamp}, err
}

// same reports whether the file is still what it was.
func (s seenFile) same() bool {
	now, err := see(s.path)
	return err == nil && now == s
}

func (c *binaryCache) of(v firecracker.Version) *foundBinary {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		c.found = map[firecracker.Version]*foundBinary{}
	}
	if c.found[v] == nil {
		c.found[v] = &foundBinary{turn: make(chan struct{}, 1)}
	}
	return c.found[v]
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
// directory. Where there is none, the release that the options demand, or else the
// newest one, is downloaded. Concurrent callers share one search and one download.
// Errors: BINARY_NOT_FOUND, BINARY_UNUSABLE, VERSION_FETCH_FAILED, DOWNLOAD_FAILED.
func (m *Manager) EnsureBinary(ctx context.Context) (image.Binary, error) {
	return m.EnsureVersion(ctx, m.opts.FirecrackerVersion)
}

// EnsureVersion is EnsureBinary for one release, whatever the options demand. A
// path that the options give still comes first, and then has to be that release.
// The zero version takes what is found.
func (m *Manager) EnsureVersion(ctx context.Context, v firecracker.Version) (image.Binary, error) {
	b, _, err := m.ensure(ctx, v, false)
	return b, err
}

// ensure returns a Firecracker and, if VMs are jailed, the path of its jailer.
func (m *Manager) ensure(ctx context.Context, v firecracker.Version, jailed bool) (b image.Binary, jailer string, err error) {
	f := m.binaries.of(v)
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return b, "", cancelled(ctx, "ensure binary", "firecracker")
	}
	if !f.file.same() {
		if b, err = m.obtainBinary(ctx, v); err != nil {
			return b, "", err
		}
		if f.file, err = see(b.Path); err != nil {
			return image.Binary{}, "", err
		}
		f.binary, f.jailer = b, seenFile{}
	}
	if jailed && !f.jailer.same() {
		path, err := m.obtainJailer(ctx, f.binary)
		if err != nil {
			return f.binary, "", err
		}
		if f.jailer, err = see(path); err != nil {
			return f.binary, "", err
		}
	}
	return f.binary, f.jailer.path, nil
}

func (m *Manager) obtainJailer(ctx context.Context, b image.Binary) (string, error) {
	jailer, missing := image.FindJailer(ctx, m.opts.Jail.JailerPath, b, m.DataDir())
	if m.opts.Jail.JailerPath != "" || m.opts.Offline || !errors.Is(missing, errcode.BinaryNotFound) {
		return jailer.Path, missing
	}
	release, err := m.images.DownloadFirecracker(ctx, b.Version)
	if err != nil {
		return "", errors.Join(missing, err)
	}
	jailer, err = image.FindJailer(ctx, release.Jailer, b, m.DataDir())
	return jailer.Path, err
}

func (m *Manager) obtainBinary(ctx context.Context, v firecracker.Version) (image.Binary, error) {
	b, missing := image.Find(ctx, m.opts.FirecrackerPath, m.DataDir(), v)
	if m.opts.FirecrackerPath != "" || m.opts.Offline || !errors.Is(missing, errcode.BinaryNotFound) {
		return b, missing
	}
	if v.IsZero() {
		var err error
		if v, err = m.images.LatestVersion(ctx); err != nil {
			return image.Binary{}, errors.Join(missing, err)
		}
	}
	release, err := m.images.DownloadFirecracker(ctx, v)
	if err != nil {
		return image.Binary{}, err
	}
	return image.Inspect(ctx, release.Firecracker)
}
