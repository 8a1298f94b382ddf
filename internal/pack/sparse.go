package pack

import (
	"bytes"
	"context"
	"io"
	"os"
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
