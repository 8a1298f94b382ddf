package baseimage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/pack"
)

// RootfsOptions say what a root file system is made of, and how.
type RootfsOptions struct {
	// Rootfs is the path of a directory or of a tar, plain or gzipped. For [Pack] it
	// may also be a squashfs or ext4 image, which is then taken as it is.
	Rootfs string
	// Tar is a tar that is read instead of Rootfs, such as the standard input. A
	// Read that blocks goes on in a goroutine when the context ends.
	Tar io.Reader
	// RootfsType is the file system to make, Squashfs by default.
	RootfsType RootfsType
	// SizeMiB is the size of an ext4 file system, at most 16384. The default is what
	// the tree needs and a quarter more, at least 64.
	SizeMiB int64
	// AllRoot gives all files to user and group 0, for a directory that was made
	// without root. By default they keep the owners that they have.
	AllRoot bool
	// Latest is the newest modification time that a file may have; later ones are
	// set back to it, as SOURCE_DATE_EPOCH asks for. The default is no limit.
	Latest time.Time
	// Progress is told how much was packed and hashed; nil tells nobody.
	Progress fetch.Progress
	// Logger is told what can't be packed and is left out, such as sockets. The
	// default is to tell nobody.
	Logger *slog.Logger
}

const opPack = "pack base image"

// PackRootfs makes a file system image at path, mode 0644, out of a directory or
// a tar, and replaces what was there when the image is whole. What a killed process
// leaves beside it is removed by the next call for the same directory. Owners, modes
// with setuid and sticky bits, links, hard links, devices, extended attributes and
// modification times (in seconds) are kept, and no privilege is needed for it. The
// same tree gives the same bytes with the same tools.
//
// A tar may come from anywhere: one whose entries would lead out of the image is
// refused. What is mounted below a directory is left out, and so are sockets.
//
// Squashfs needs sqfstar of squashfs-tools 4.5 or later, ext4 needs e2fsprogs: a
// missing tool is HOST_UNSUPPORTED. Other errors are INVALID_CONFIG for options,
// ROOTFS_CREATE_FAILED, NO_SPACE and CANCELLED.
func PackRootfs(ctx context.Context, path string, o RootfsOptions) error {
	if o.RootfsType == "" {
		o.RootfsType = Squashfs
	}
	details := o.mistakes()
	if path == "" {
		details = append(details, errcode.Detail{Field: "path", Message: "is required"})
	}
	if len(details) > 0 {
		return &errcode.Error{Code: errcode.InvalidConfig, Op: "pack root file system", Details: details}
	}
	return o.pack(ctx, path)
}

// mistakes looks at the options of a file system that will be made.
func (o *RootfsOptions) mistakes() []errcode.Detail {
	var found []errcode.Detail
	add := func(field, message string) { found = append(found, errcode.Detail{Field: field, Message: message}) }
	switch {
	case o.Rootfs == "" && o.Tar == nil:
		add("rootfs", "is required")
	case o.Rootfs != "" && o.Tar != nil:
		add("rootfs", "is given twice, as a path and as a stream")
	}
	switch {
	case o.RootfsType != Squashfs && o.RootfsType != Ext4:
		add("rootfsType", string(o.RootfsType)+" is neither squashfs nor ext4")
	case o.RootfsType == Squashfs && o.SizeMiB != 0:
		add("sizeMiB", "is for ext4 only: squashfs is as large as its content")
	case o.SizeMiB < 0 || o.SizeMiB > maxSize>>20:
		add("sizeMiB", "is not in 1..16384")
	}
	return found
}

func (o *RootfsOptions) pack(ctx context.Context, path string) (err error) {
	source := pack.Tar("-", o.Tar)
	if o.Tar == nil {
		if source, err = pack.Open(o.Rootfs); err != nil {
			return err
		}
	}
	task := o.begin(filepath.Base(path), 0)
	defer func() { task.End(err) }()
	err = pack.Image(ctx, source, path, pack.Options{
		Format: pack.Format(o.RootfsType), SizeMiB: o.SizeMiB, AllRoot: o.AllRoot, Latest: o.Latest, Logger: o.Logger,
		Progress: func(bytes int64) { task.Set(bytes, 0) },
	})
	return errors.Join(err, source.Close())
}

// begin starts a task, even if nobody wants to know.
func (o *RootfsOptions) begin(name string, total int64) fetch.Task {
	if o.Progress == nil {
		return unseen{}
	}
	return o.Progress.Begin(name, total)
}

// unseen is a task that nobody watches.
type unseen struct{}

// Set does nothing.
func (unseen) Set(int64, int64) {}

// End does nothing.
func (unseen) End(error) {}

// Marks of file systems (squashfs_fs.h and ext4.h of Linux).
const (
	squashfsMark = "hsqs"
	ext4Mark     = 0xef53
	ext4MarkAt   = 0x438
)

// imageType returns the file system in an image, "" for a file that is none.
func imageType(path string) (RootfsType, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, ext4MarkAt+2)
	n, err := io.ReadFull(f, head)
	switch {
	case bytes.HasPrefix(head[:n], []byte(squashfsMark)):
		return Squashfs, nil
	case n == len(head) && binary.LittleEndian.Uint16(head[ext4MarkAt:]) == ext4Mark:
		return Ext4, nil
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return "", err
	}
	return "", nil
}
