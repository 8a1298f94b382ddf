package stage

import (
	"errors"
	"io"
	"iter"
	"os"
)

var (
	errNotAnImage = errors.New("neither a regular file nor a block device")
	errChanged    = errors.New("the source changed while it was copied")
)

// source is an image that is open for reading.
type source struct {
	name   string // as the caller gave it
	file   *os.File
	device bool // a block device, which has no holes
	memory bool // a file in a tmpfs, which has no reflinks
}

// extent is a run of bytes that holds data.
type extent struct{ offset, length int64 }

func (s *source) close() {
	_ = s.file.Close() // opened for reading: nothing can be lost, and a second close is harmless
}

// size also knows the size of a block device, for which stat says 0. It moves
// the offset of the file.
func (s *source) size() (int64, error) { return s.file.Seek(0, io.SeekEnd) }

// dataSize sums what must be written to copy the source. On disk the blocks that
// stat counts are no substitute: they include preallocated ones, which read as
// holes, and leave out what a compressing file system has saved. In a tmpfs they
// are, and spare a search for holes that looks at every page.
func (s *source) dataSize() (int64, error) {
	if s.memory {
		return allocated(s.file)
	}
	size, err := s.size()
	if err != nil {
		return 0, err
	}
	const block = 4096
	var sum int64
	for extent, err := range s.extents(size) {
		if err != nil {
			return 0, err
		}
		sum += (extent.length + block - 1) / block * block
	}
	return sum, nil
}

// extents yields the data of the first size bytes in ascending order.
func (s *source) extents(size int64) iter.Seq2[extent, error] {
	return func(yield func(extent, error) bool) {
		if s.device {
			if size > 0 {
				yield(extent{0, size}, nil)
			}
			return
		}
		for end := int64(0); end < size; {
			start, more, err := nextData(s.file, end)
			if err != nil {
				yield(extent{}, err)
				return
			}
			if !more || start >= size {
				return
			}
			if end, err = nextHole(s.file, start); err != nil {
				yield(extent{}, err)
				return
			}
			end = min(end, size)
			if !yield(extent{start, end - start}, nil) {
				return
			}
		}
	}
}
