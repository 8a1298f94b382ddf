package baseimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"syscall"
)

// damage is what is wrong with a file of the cache, and is mended by fetching it
// again.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

// errMoved is about a file that was replaced or changed while it was looked at.
var errMoved = errors.New("it changed while it was read")

func damaged(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

// contents remembers what files hash to. A file is hashed once per store, and
// again when its device, inode, size, mtime or ctime is another.
type contents struct {
	mu    sync.Mutex
	known map[string]known // by path in the cache
}

type known struct {
	stamp
	sha256 string
}

// check compares the file name in dir, which is the directory id of the cache, with
// what it has to be. With afresh it is hashed whatever is remembered. The error is a
// *damage when the file must be fetched again.
func (c *contents) check(ctx context.Context, dir *os.Root, id string, want *ArtifactManifest, afresh bool) error {
	const tries = 3 // a repair or a new hard link is no damage
	var err error
	for range tries {
		if err = c.checkOnce(ctx, dir, id, want, afresh); !errors.Is(err, errMoved) {
			return err
		}
	}
	return damaged("%v", err)
}

func (c *contents) checkOnce(ctx context.Context, dir *os.Root, id string, want *ArtifactManifest, afresh bool) error {
	f, now, err := openPlain(dir, want.FileName)
	if err != nil {
		return err
	}
	defer f.Close()
	if want.SizeBytes > 0 && now.size != want.SizeBytes {
		return damaged("it has %d bytes, not %d", now.size, want.SizeBytes)
	}
	key := path.Join(id, want.FileName)
	sum, known := c.recall(key, now)
	if !known || afresh {
		if sum, err = c.hash(ctx, f, key, now); err != nil {
			return err
		}
	}
	if sum != want.SHA256 {
		return damaged("it has the SHA256 %s, not %s", sum, want.SHA256)
	}
	return nil
}

// hash reads the file from one descriptor, and remembers the result if the file
// would not change without a trace.
func (c *contents) hash(ctx context.Context, f *os.File, key string, before stamp) (string, error) {
	lasting := before.settle(ctx)
	sum, err := sha256Of(ctx, f)
	if errors.Is(err, syscall.EIO) {
		return "", damaged("it can't be read: %v", err)
	}
	if err != nil {
		return "", err
	}
	after, _, err := attributes(f)
	if err != nil {
		return "", err
	}
	if after != before {
		return "", errMoved
	}
	if lasting {
		c.remember(key, known{before, sum})
	}
	return sum, nil
}

// learn remembers the hash of a file that was verified on its way to its place.
func (c *contents) learn(ctx context.Context, dir *os.Root, id string, a *ArtifactManifest) error {
	f, now, err := openPlain(dir, a.FileName)
	if err != nil {
		return err
	}
	defer f.Close()
	if now.size != a.SizeBytes {
		return damaged("it has %d bytes, not %d", now.size, a.SizeBytes)
	}
	if now.settle(ctx) {
		c.remember(path.Join(id, a.FileName), known{now, a.SHA256})
	}
	return nil
}

func (c *contents) recall(key string, now stamp) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[key]
	return k.sha256, ok && k.stamp == now
}

func (c *contents) remember(key string, k known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]known)
	}
	c.known[key] = k
}

// openPlain opens a file of the cache that nobody else can write, and no link. A
// root follows links that stay inside it, so the file that was opened is compared
// with the one that the name stands for; a FIFO must not block the open.
func openPlain(dir *os.Root, name string) (*os.File, stamp, error) {
	named, err := dir.Lstat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, stamp{}, damaged("it is missing")
	case err != nil:
		return nil, stamp{}, err
	case !named.Mode().IsRegular():
		return nil, stamp{}, damaged("it is no regular file but %s", kindOf(named.Mode()))
	case named.Mode()&0o022 != 0:
		return nil, stamp{}, damaged("others may write it, its mode is %04o", named.Mode().Perm())
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, stamp{}, damaged("it is missing")
	}
	if err != nil {
		return nil, stamp{}, err
	}
	now, uid, err := attributes(f)
	if err == nil {
		err = same(f, named)
	}
	if err == nil && int64(uid) != int64(os.Geteuid()) {
		err = damaged("it belongs to uid %d", uid)
	}
	if err != nil {
		return nil, stamp{}, errors.Join(err, f.Close())
	}
	return f, now, nil
}

func same(f *os.File, named os.FileInfo) error {
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(opened, named) {
		return errMoved
	}
	return nil
}

func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	case m&os.ModeNamedPipe != 0:
		return "a FIFO"
	default:
		return m.Type().String()
	}
}

// hashBuffer fits the second-level cache of a processor with what else is there.
const hashBuffer = 256 << 10

// sha256Of reads f to its end.
func sha256Of(ctx context.Context, f io.Reader) (string, error) {
	hash, buf := sha256.New(), make([]byte, hashBuffer)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.Read(buf)
		_, _ = hash.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
