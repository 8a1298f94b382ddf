package image

import (
	"context"
	"io"
	"os"
)

// Parsers of what comes from outside, for fuzzing.
var (
	ParseSums = parseSums
	ParseTag  = parseTag
)

// NewBlankDisk is what the maker of a file system writes to.
func NewBlankDisk(ctx context.Context, f *os.File) io.WriterAt {
	return &blankDisk{File: f, ctx: ctx, written: map[int64]bool{}}
}
