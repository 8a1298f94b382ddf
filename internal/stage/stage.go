// Package stage puts a private, writable copy of a disk image where a VM can
// have it, as cheaply as the file system allows and without filling it.
//
// A reflink shares the blocks of the source and costs next to nothing; where
// the file system has none, only the data between the holes is copied, inside
// the kernel. Room is checked and promised before anything is written:
//
//	place, err := space.Choose(image, []*os.Root{runtimeDir, dataDir})
//	if err != nil { ... }
//	defer place.Release()
//	// record place.Dir and the name, then:
//	result, err := place.Copy(ctx, "rootfs.ext4")
//
// The package works on Linux; elsewhere every call fails with
// [errors.ErrUnsupported].
package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Method is the way the data got from the source to the copy.
type Method string

// Methods, cheapest first.
const (
	// Reflink shares the source's blocks until one side is written.
	Reflink Method = "reflink"
	// CopyFileRange copies extents inside one file system.
	CopyFileRange Method = "copy_file_range"
	// Sendfile copies extents through the page cache of the kernel.
	Sendfile Method = "sendfile"
	// ReadWrite copies extents through a buffer of this process.
	ReadWrite Method = "read_write"
)

// Result tells what a copy cost.
type Result struct {
	Method    Method        // the way of the last extent; Reflink and CopyFileRange where both would do
	Bytes     int64         // size of the copy, holes included
	Allocated int64         // bytes that the copy occupies; for a reflink those that it shares
	Duration  time.Duration // from the creation of the copy to its last byte
}

// chunkSize bounds one call into the kernel, and so the time until a cancelled
// context is noticed: 16 MiB are a few milliseconds in memory.
const chunkSize = 16 << 20

// Place is where one image will be copied to, with the room for it promised.
// Its source stays open, so that what was measured is what is copied. A Place
// belongs to one goroutine and must be released.
type Place struct {
	// Dir is the chosen directory. It belongs to the caller of Choose.
	Dir *os.Root
	// Reflink says that a reflink of this very source has worked in Dir.
	Reflink bool

	source  *source
	need    int64 // bytes to write if it comes to copying
	space   *Space
	promise *promise
}

// Choose opens the image src and returns the first of dirs into which it can
// be reflinked, or else the first that has room for the data of it. The reflink
// is tried for real, on an unnamed file, so nothing is left of it.
//
// A symbolic link is followed to a regular file or a block device. Choose fails
// with STAGE_FAILED when the source can't be used, and with NO_SPACE when no
// directory has room.
func (s *Space) Choose(src string, dirs []*os.Root) (*Place, error) {
	in, err := openSource(src)
	if err != nil {
		return nil, failed(src, "", err)
	}
	place, err := s.choose(in, dirs)
	if err != nil {
		return nil, errors.Join(err, in.file.Close())
	}
	return place, nil
}

func (s *Space) choose(in *source, dirs []*os.Root) (*Place, error) {
	need, err := in.dataSize()
	if err != nil {
		return nil, failed(in.name, "", fmt.Errorf("look for holes: %w", err))
	}
	candidates := make([]candidate, 0, len(dirs))
	for _, dir := range dirs {
		candidates = append(candidates, candidate{dir: dir, reflink: in.canReflink(dir)})
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return a.rank() - b.rank() })
	var full []shortage
	for _, c := range candidates {
		room := need
		if c.reflink {
			room = 0 // the blocks are shared; the margin covers the metadata
		}
		promise, short, err := s.reserve(c.dir, room)
		if err != nil {
			return nil, failed(in.name, c.dir.Name(), fmt.Errorf("ask for free space: %w", err))
		}
		if short == nil {
			return &Place{Dir: c.dir, Reflink: c.reflink, source: in, need: need, space: s, promise: promise}, nil
		}
		full = append(full, *short)
	}
	if len(full) == 0 {
		return nil, failed(in.name, "", errors.New("no target directory was given"))
	}
	return nil, noSpace(in.name, full)
}

// candidate is a directory and whether the source can be reflinked into it.
type candidate struct {
	dir     *os.Root
	reflink bool
}

// rank sorts reflinks first.
func (c candidate) rank() int {
	if c.reflink {
		return 0
	}
	return 1
}

// Release gives back what of the promised room was not used and closes the
// source. It may be called again, and after Copy.
func (p *Place) Release() {
	p.promise.release()
	p.source.close()
}

// Copy makes the file name in the chosen directory, which must not have it yet,
// with mode 0600 and the size and holes of the source. It may be called once.
//
// Copy fails with NO_SPACE when the file system fills up all the same, else
// with STAGE_FAILED, and then leaves no file behind. It does so too when ctx
// ends, with the cause of that, and when the source changes under it.
func (p *Place) Copy(ctx context.Context, name string) (Result, error) {
	start := time.Now()
	target := filepath.Join(p.Dir.Name(), name)
	if err := ctx.Err(); err != nil {
		return Result{}, failed(p.source.name, target, context.Cause(ctx))
	}
	out, err := p.Dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Result{}, failed(p.source.name, target, err)
	}
	result, err := p.fill(ctx, out)
	if err == nil {
		result.Allocated, err = allocated(out)
	}
	err = errors.Join(err, out.Close())
	if err != nil {
		if gone := p.Dir.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return Result{}, p.explain(target, err)
	}
	result.Duration = time.Since(start)
	return result, nil
}

// fill makes out equal to the source, and checks that the source held still.
func (p *Place) fill(ctx context.Context, out *os.File) (Result, error) {
	before, err := p.source.file.Stat()
	if err != nil {
		return Result{}, err
	}
	size, err := p.source.size()
	if err != nil {
		return Result{}, err
	}
	method := Reflink
	if err := p.source.reflink(out); err != nil {
		if method, err = p.copyData(ctx, out, size, err); err != nil {
			return Result{}, err
		}
	}
	after, err := p.source.file.Stat()
	if err != nil {
		return Result{}, err
	}
	if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return Result{}, errChanged
	}
	return Result{Method: method, Bytes: size}, nil
}

// copyData copies what lies between the holes. reason is why there is no reflink.
func (p *Place) copyData(ctx context.Context, out *os.File, size int64, reason error) (Method, error) {
	if !reflinkRefused(reason) {
		return "", fmt.Errorf("reflink: %w", reason)
	}
	if p.Reflink { // the trial worked, the whole does not: only now is there a need for room
		if err := p.promiseNeed(); err != nil {
			return "", err
		}
	}
	// The size comes first: it makes the trailing hole, and keeps a file system
	// from allocating ahead of a file that seems to grow.
	if err := out.Truncate(size); err != nil {
		return "", err
	}
	mover := newMover(p.source.file, out)
	for extent, err := range p.source.extents(size) {
		if err != nil {
			return "", err
		}
		for extent.length > 0 {
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			n, err := mover.move(extent.offset, min(extent.length, chunkSize))
			if err != nil {
				return "", err
			}
			p.promise.spend(n)
			extent.offset += n
			extent.length -= n
		}
	}
	return mover.method(), nil
}

func (p *Place) promiseNeed() error {
	promise, short, err := p.space.reserve(p.Dir, p.need)
	if err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if short != nil {
		return noSpace(p.source.name, []shortage{*short})
	}
	p.promise.release()
	p.promise = promise
	return nil
}
