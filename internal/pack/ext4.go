package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"

	"github.com/smartvm/smartvm/errcode"
)

// What tar2ext4 v0.15.0 can write without a mistake.
const (
	// Its extents go wrong from the second block of them on, which is after 340
	// extents of 128 MiB.
	ext4MaxFile = 32 << 30
	// It orders the attributes of a file by a comparison that is none. That comes
	// out right where the sort is one by insertion, which is up to 12.
	ext4MaxXattrs = 12
)

const (
	mib = 1 << 20
	// ext4MaxSize is what room for group descriptors is kept free for: 256 KiB.
	ext4MaxSize = 1 << 40
	ext4MinSize = 64 * mib
	// spareInodes is how many inodes are free in an image at least. It is what mke2fs
	// gives to one full group of blocks.
	spareInodes = 8192
)

// ext4 writes the tree with tar2ext4 and has e2fsprogs make it a file system that
// can be written to: tar2ext4 leaves it without a free block, inode or journal, and
// marked as read-only.
func (s *Source) ext4(ctx context.Context, out *output, o Options) error {
	tools, err := findExt4Tools()
	if err != nil {
		return err
	}
	file := &sparseFile{ctx: ctx, file: out.file}
	im, err := s.convert(ctx, file, o)
	if err != nil {
		return err
	}
	if err := out.file.Truncate(file.at); err != nil { // its end may be a hole
		return err
	}
	if im.size, im.journal, err = ext4Size(file.at, o.SizeMiB*mib); err != nil {
		return err
	}
	im.path = out.path
	if err := tools.finish(ctx, im); err != nil {
		return err
	}
	return digHoles(ctx, out.file)
}

// ext4Image is what has to be known to finish an image.
type ext4Image struct {
	path    string
	uuid    string
	time    int64  // of the file system, in seconds since 1970
	spares  string // the directory of files that only keep inodes
	size    int64  // in bytes
	journal int64  // in bytes
}

// convert has tar2ext4 read the stream, and returns what is known of the image then.
func (s *Source) convert(ctx context.Context, file *sparseFile, o Options) (*ext4Image, error) {
	pr, pw := io.Pipe()
	hash := sha256.New()
	im := new(ext4Image)
	var packed *tree
	written := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(io.MultiWriter(pw, hash), pipeBuffer)
		var err error
		packed, err = s.write(ctx, buffered, o, fitExt4, im.addSpares)
		if err == nil {
			err = buffered.Flush()
		}
		_ = pw.CloseWithError(err) // it always is nil
		written <- err
	}()
	err := tar2ext4.ConvertTarToExt4(pr, file, tar2ext4.MaximumDiskSize(ext4MaxSize))
	_ = pr.Close() // it always is nil
	if failure := <-written; failure != nil && !errors.Is(failure, io.ErrClosedPipe) {
		return nil, failure
	}
	if err != nil {
		return nil, fmt.Errorf("tar2ext4: %w", err)
	}
	im.time = packed.time().Unix()
	im.uuid = uuid([16]byte(hash.Sum(nil)))
	return im, nil
}

// fitExt4 changes or refuses what ext4, or its writer, can't hold.
func fitExt4(e *entry, n *notes) error {
	// The seconds of a timestamp have 34 bits (fs/ext4/ext4.h, extended timestamps).
	e.mtime = min(max(e.mtime, -1<<31), 1<<34-1<<31-1)
	if e.size > ext4MaxFile {
		return fmt.Errorf("the file has more than %d GiB", ext4MaxFile>>30)
	}
	for name, value := range e.xattrs {
		var err error
		switch {
		case name == aclAccess || name == aclDefault:
			e.xattrs[name], err = ext4ACL(value)
		case !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.") && !strings.HasPrefix(name, "security."):
			n.leftOutOnce(e.name, "extended attribute "+name+", which ext4 can't hold")
			delete(e.xattrs, name)
		}
		if err != nil {
			return err
		}
	}
	if len(e.xattrs) > ext4MaxXattrs {
		return fmt.Errorf("it has %d extended attributes, and more than %d can't be written to ext4; squashfs can hold them",
			len(e.xattrs), ext4MaxXattrs)
	}
	return nil
}

// addSpares adds files whose inodes are free when they are removed again: the
// inodes of an image are as many as the files that tar2ext4 was given.
func (im *ext4Image) addSpares(t *tree) error {
	im.spares = ".spare-inodes"
	for {
		if _, taken := t.nodes[im.spares]; !taken {
			break
		}
		im.spares += "_"
	}
	e := entry{name: im.spares, kind: tar.TypeDir, mode: 0o700, mtime: t.newest}
	for i := range spareInodes + 1 {
		if err := t.add(e, strings.NewReader("")); err != nil {
			return err
		}
		e.name, e.kind = spare(im.spares, i), tar.TypeReg
	}
	return nil
}

func spare(dir string, i int) string { return dir + "/" + strconv.Itoa(i) }

// ext4Size returns the sizes of the file system and of its journal, given what
// the image has used and what was asked for, all in bytes.
func ext4Size(used, asked int64) (size, journal int64, err error) {
	size = asked
	if asked == 0 {
		size = max(used+used/4, ext4MinSize)
	}
	switch { // as mke2fs has it (lib/ext2fs/mkjournal.c), but no more than 64 MiB
	case size < 128*mib:
		journal = 4 * mib
	case size < 1<<30:
		journal = 16 * mib
	default:
		journal = 64 * mib
	}
	if asked == 0 {
		size += journal
	}
	size = (size + mib - 1) / mib * mib
	least := max((used+journal)/mib+1, ext4MinSize/mib)
	if size < least*mib || size > ext4MaxSize {
		return 0, 0, &errcode.Error{
			Code: errcode.InvalidConfig, Op: opPack,
			Details: []errcode.Detail{{
				Field:   "sizeMiB",
				Message: fmt.Sprintf("is %d, and has to be %d to %d for this tree", size/mib, least, ext4MaxSize/mib),
			}},
		}
	}
	return size, journal, nil
}

// uuid writes a hash as a UUID of version 8, which is for what has a meaning of
// its own (RFC 9562).
func uuid(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
