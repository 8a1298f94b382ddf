package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// stagingWay is one way to copy the image. All of them skip holes.
type stagingWay struct {
	name string
	copy func(context.Context, pair) (stagedCopy, error)
}

// errCannot says that two file systems do not have that way.
var errCannot = errors.New("not between these file systems")

func stagingWays() []stagingWay {
	buffer := make([]byte, 256<<10)
	return []stagingWay{
		{methodSelf, bySmartvmStage},
		{"reflink", raw(func(from, to int) error { return unix.IoctlFileClone(to, from) })},
		{"copy_file_range", raw(byExtents(copyFileRange))},
		{"sendfile", raw(byExtents(sendfile))},
		{"read and write", raw(byExtents(func(from, to int, at, length int64) (int64, error) {
			return readWrite(from, to, at, buffer[:min(length, int64(len(buffer)))])
		}))},
	}
}

// raw measures move between two open files, and their opening.
func raw(move func(from, to int) error) func(context.Context, pair) (stagedCopy, error) {
	return func(_ context.Context, p pair) (c stagedCopy, err error) {
		target := filepath.Join(p.to, copyName)
		defer func() { err = errors.Join(err, os.RemoveAll(target)) }()
		began := time.Now()
		from, err := unix.Open(filepath.Join(p.from, imageName), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return c, os.NewSyscallError("open", err)
		}
		to, err := unix.Open(target, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, fileMode)
		if err != nil {
			return c, errors.Join(os.NewSyscallError("open", err), unix.Close(from))
		}
		err = move(from, to)
		var st unix.Stat_t
		err = errors.Join(cannot(err), unix.Fstat(to, &st), unix.Close(to), unix.Close(from))
		return stagedCopy{took: time.Since(began), allocated: st.Blocks * 512}, err
	}
}

func cannot(err error) error {
	for _, no := range []error{unix.EOPNOTSUPP, unix.EXDEV, unix.EINVAL, unix.ENOTTY} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", errCannot, err)
		}
	}
	return err
}

// byExtents gives the file its size and moves what lies between the holes.
func byExtents(move func(from, to int, at, length int64) (int64, error)) func(from, to int) error {
	return func(from, to int) error {
		if err := unix.Ftruncate(to, imageMiB*mib); err != nil {
			return err
		}
		for end := int64(0); end < imageMiB*mib; {
			at, err := unix.Seek(from, end, unix.SEEK_DATA)
			if errors.Is(err, unix.ENXIO) {
				return nil
			}
			if err != nil {
				return err
			}
			if end, err = unix.Seek(from, at, unix.SEEK_HOLE); err != nil {
				return err
			}
			for at < end {
				n, err := move(from, to, at, end-at)
				if err != nil {
					return err
				}
				at += n
			}
		}
		return nil
	}
}

func copyFileRange(from, to int, at, length int64) (int64, error) {
	in, out := at, at
	n, err := unix.CopyFileRange(from, &in, to, &out, int(length), 0)
	return int64(n), moved(n, err)
}

func sendfile(from, to int, at, length int64) (int64, error) {
	if _, err := unix.Seek(to, at, unix.SEEK_SET); err != nil {
		return 0, err
	}
	n, err := unix.Sendfile(to, from, &at, int(length))
	return int64(n), moved(n, err)
}

func readWrite(from, to int, at int64, buffer []byte) (int64, error) {
	n, err := unix.Pread(from, buffer, at)
	if err := moved(n, err); err != nil {
		return 0, err
	}
	n, err = unix.Pwrite(to, buffer[:n], at)
	return int64(n), moved(n, err)
}

// moved makes an error of no progress.
func moved(n int, err error) error {
	if err == nil && n == 0 {
		return errors.New("nothing was moved")
	}
	return err
}
