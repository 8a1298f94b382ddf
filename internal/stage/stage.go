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

	source  *source
	clone   *os.File // the reflink, which has no name yet; nil where there is none
	need    int64    // bytes to write without a reflink
	promise *promise
}

// Choose opens the image src and returns the first of dirs into which it can
// be reflinked, or else the first that has room for the data of it. Whether it
// can is not guessed but done: the reflink is made at once, as a file without a
// name that is gone when the place is released, and Copy names it.
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
		in.close()
		return nil, err
	}
	return place, nil
}

func (s *Space) choose(in *source, dirs []*os.Root) (*Place, error) {
	for _, dir := range dirs {
		clone, err := in.cloneInto(dir)
		if err != nil {
			continue
		}
		// The blocks are shared; the margin covers the metadata.
		promise, short, err := s.reserve(dir, 0)
		if err == nil && short == nil {
			return &Place{Dir: dir, source: in, clone: clone, promise: promise}, nil
		}
		_ = clone.Close()
	}
	need, err := in.dataSize()
	if err != nil {
		return nil, failed(in.name, "", fmt.Errorf("look for holes: %w", err))
	}
	var full []shortage
	for _, dir := range dirs {
		promise, short, err := s.reserve(dir, need)
		if err != nil {
			return nil, failed(in.name, dir.Name(), fmt.Errorf("ask for free space: %w", err))
		}
		if short == nil {
			return &Place{Dir: dir, source: in, need: need, promise: promise}, nil
		}
		full = append(full, *short)
	}
	if len(full) == 0 {
		return nil, failed(in.name, "", errors.New("no target directory was given"))
	}
	return nil, noSpace(in.name, full)
}

// Release gives back what of the promised room was not used and closes the
// source. It may be called again, and after Copy.
func (p *Place) Release() {
	p.promise.release()
	p.source.close()
	if p.clone != nil {
		_ = p.clone.Close() // nothing was written through it, and a second close is harmless
	}
}

// Reflink reports whether the copy will share the blocks of the source. It will
// then have the content that the source had in Choose.
func (p *Place) Reflink() bool { return p.clone != nil }

// Copy makes the file name in the chosen directory, which must not have it yet,
// with mode 0600 and the size and holes of the source. It may be called once.
//
// Copy fails with NO_SPACE when the file system fills up all the same, else
// with STAGE_FAILED, and then leaves no file behind. It does so too when ctx
// ends, with the cause of that, and when the source changes under it. Without a
// reflink that can be seen only by its size and time of modification.
func (p *Place) Copy(ctx context.Context, name string) (Result, error) {
	start := time.Now()
	target := filepath.Join(p.Dir.Name(), name)
	if err := ctx.Err(); err != nil {
		return Result{}, failed(p.source.name, target, context.Cause(ctx))
	}
	result, err := p.create(ctx, name)
	if err != nil {
		return Result{}, p.explain(target, err)
	}
	result.Duration = time.Since(start)
	return result, nil
}

// create makes the file or, when it fails, nothing.
func (p *Place) create(ctx context.Context, name string) (Result, error) {
	if p.clone != nil {
		return p.nameClone(name)
	}
	out, err := p.Dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Result{}, err
	}
	result, err := p.fill(ctx, out)
	if err == nil {
		result.Allocated, err = allocated(out)
	}
	if err = errors.Join(err, out.Close()); err == nil {
		return result, nil
	}
	if gone := p.Dir.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return Result{}, err
}

// nameClone gives the reflink its name. The directory of name is opened by the
// root, which keeps links in it from leading out.
func (p *Place) nameClone(name string) (Result, error) {
	parent, err := p.Dir.Open(filepath.Dir(name))
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = parent.Close() }()
	info, err := p.clone.Stat()
	if err != nil {
		return Result{}, err
	}
	shared, err := allocated(p.clone)
	if err != nil {
		return Result{}, err
	}
	// Last, for there must be no file after a failure.
	if err := linkInto(p.clone, parent, filepath.Base(name)); err != nil {
		return Result{}, err
	}
	return Result{Method: Reflink, Bytes: info.Size(), Allocated: shared}, nil
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
	// The size comes first: it makes the trailing hole, and keeps a file system
	// from allocating ahead of a file that seems to grow.
	if err := out.Truncate(size); err != nil {
		return "", err
	}
	return p.source.moveData(ctx, out, size, p.promise.spend)
}

// Overlay writes the data of a file, but not its holes, over the same places of another
// one. What has been written when an error comes stays.
func Overlay(ctx context.Context, out, layer *os.File) error {
	in := &source{file: layer}
	size, err := in.size()
	if err != nil {
		return err
	}
	_, err = in.moveData(ctx, out, size, func(int64) {})
	return err
}

// moveData moves the data of the first size bytes, and tells how much of it is done.
func (s *source) moveData(ctx context.Context, out *os.File, size int64, done func(int64)) (Method, error) {
	mover := newMover(s.file, out)
	err := s.moveBy(ctx, mover, size, done)
	return mover.method(), err
}

func (s *source) moveBy(ctx context.Context, mover *mover, size int64, done func(int64)) error {
	for extent, err := range s.extents(size) {
		if err != nil {
			return err
		}
		for extent.length > 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := mover.move(extent.offset, min(extent.length, chunkSize))
			if err != nil {
				return err
			}
			done(n)
			extent.offset += n
			extent.length -= n
		}
	}
	return nil
}
