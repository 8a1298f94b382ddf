package pack

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Source is a tree that can be packed once.
type Source struct {
	name string   // for people: a path, or what the caller of Tar says
	file *os.File // what Open has opened
	feed func(ctx context.Context, t *tree, n *notes) error
}

// Open opens a directory, or a regular file with a tar in it, plain or gzipped.
// A symbolic link at the end of path is followed; below it none is.
//
// A directory is packed as far as its file system goes: what is mounted below it
// is left out, and an empty directory or file is packed in its place, as in the
// tree of a chroot that has a /proc. Sockets are left out, since they mean
// nothing without the process that listens. The owners are those that stat shows.
func Open(path string) (*Source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, coded(path, err)
	}
	s := &Source{name: path, file: f}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		s.feed = func(ctx context.Context, t *tree, n *notes) error { return walk(ctx, f, t, n) }
	case info.Mode().IsRegular():
		s.feed = func(ctx context.Context, t *tree, n *notes) error { return unpack(ctx, f, t, n) }
	default:
		err = errors.New("is neither a directory nor a regular file")
	}
	if err != nil {
		return nil, errors.Join(coded(path, err), f.Close())
	}
	return s, nil
}

// Tar is a tar, plain or gzipped, that is read from r; name is what errors call
// it. The archive may come from anywhere: names are taken below the root of the
// image, and an archive whose names or hard links lead out of it, whose entries
// lie below something that is no directory or occur twice, that has types no
// file system knows, that is cut short, or that has too many entries or bytes is
// refused. Whiteouts of container layers are files like others.
//
// A Read of r that blocks can't be interrupted: if the context ends meanwhile,
// it goes on in a goroutine until it returns.
func Tar(name string, r io.Reader) *Source {
	return &Source{name: name, feed: func(ctx context.Context, t *tree, n *notes) error {
		in, stop := interruptible(ctx, r)
		defer stop()
		return unpack(ctx, in, t, n)
	}}
}

// Close closes what Open has opened.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// interruptible returns a reader that reads r until ctx ends or stop is called.
func interruptible(ctx context.Context, r io.Reader) (in io.Reader, stop func()) {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		_ = pw.CloseWithError(err) // it always is nil
	}()
	done := context.AfterFunc(ctx, func() { _ = pw.CloseWithError(context.Cause(ctx)) })
	return pr, func() {
		done()
		_ = pr.Close()
	}
}
