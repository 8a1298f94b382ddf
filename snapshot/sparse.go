package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
)

// holeSize is the unit of holes: a page of memory, and the block of most file systems.
const holeSize = 4096

var zeros [holeSize]byte

// writeSparse makes a file of a size and a hash that are known. What is zero in r becomes
// holes.
func writeSparse(ctx context.Context, dir *os.Root, name string, r io.Reader, file *File) (err error) {
	out, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(file.Size); err != nil {
		return err
	}
	hash := sha256.New()
	buf := make([]byte, 256*holeSize)
	for at := int64(0); at < file.Size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		piece := buf[:min(int64(len(buf)), file.Size-at)]
		if _, err := io.ReadFull(r, piece); err != nil {
			return err
		}
		_, _ = hash.Write(piece) // a hash takes everything
		if err := writeData(out, piece, at); err != nil {
			return err
		}
		at += int64(len(piece))
	}
	if is := hex.EncodeToString(hash.Sum(nil)); is != file.SHA256 {
		return otherContent(is, file.SHA256)
	}
	return nil
}

// writeData writes what is not zero of a piece.
func writeData(out io.WriterAt, piece []byte, at int64) error {
	from := 0 // of the data that is not written yet
	for to := 0; to < len(piece); {
		next := min(to+holeSize, len(piece))
		if bytes.Equal(piece[to:next], zeros[:next-to]) {
			if from < to {
				if _, err := out.WriteAt(piece[from:to], at+int64(from)); err != nil {
					return err
				}
			}
			from = next
		}
		to = next
	}
	if from < len(piece) {
		if _, err := out.WriteAt(piece[from:], at+int64(from)); err != nil {
			return err
		}
	}
	return nil
}
