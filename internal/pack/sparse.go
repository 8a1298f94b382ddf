package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sparseFile is a new file that is written front to back for the most part. Zeros
// behind the end of what was written become a hole.
type sparseFile struct {
	ctx  context.Context //nolint:containedctx // of the one call that writes: an io.Writer takes none
	file *os.File
	at   int64 // where the next byte goes
	end  int64 // nothing but holes is at or after it
}

var zeros [64 << 10]byte

// Write implements io.Writer. It fails when the context has ended.
func (s *sparseFile) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	for done := 0; done < len(p); {
		part := p[done:min(len(p), done+len(zeros))]
		if s.at < s.end || !bytes.Equal(part, zeros[:len(part)]) {
			if n, err := s.file.WriteAt(part, s.at); err != nil {
				return done + n, err
			}
			s.end = max(s.end, s.at+int64(len(part)))
		}
		s.at += int64(len(part))
		done += len(part)
	}
	return len(p), nil
}

// Read implements io.Reader.
func (s *sparseFile) Read(p []byte) (int, error) {
	n, err := s.file.ReadAt(p, s.at)
	s.at += int64(n)
	return n, err
}

// Seek implements io.Seeker, from the beginning and from where it is.
func (s *sparseFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		s.at = offset
	case io.SeekCurrent:
		s.at += offset
	default:
		return 0, os.ErrInvalid
	}
	return s.at, nil
}

// digHoles frees the blocks of a file that read as zeros: empty inode tables and
// a journal are megabytes of them, written by the tools or only set aside. Where
// the file system has no holes it does nothing.
func digHoles(ctx context.Context, f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := make([]byte, len(zeros))
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // no more data
			data = size
		} else if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		end := data - data%int64(len(buf)) // blocks of the file system divide it
		if end <= at {
			n, err := f.ReadAt(buf, at)
			if n == 0 {
				return fmt.Errorf("look for holes: %w", err)
			}
			end = at + int64(n)
			if !bytes.Equal(buf[:n], zeros[:n]) {
				at = end
				continue
			}
		}
		if err := punch(f, at, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func punch(f *os.File, from, to int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}
