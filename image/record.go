package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

// Verify compares the stored Firecracker and jailer of a release with the hashes
// that were recorded when they were unpacked. It reads both files. The error is
// BINARY_NOT_FOUND when the release is not stored, and BINARY_UNUSABLE when it is
// damaged or has no record.
func (s *Store) Verify(ctx context.Context, v firecracker.Version) error {
	const op = "verify firecracker"
	r := s.release(v)
	if _, err := os.Lstat(r.Firecracker); errors.Is(err, fs.ErrNotExist) {
		return &errcode.Error{Code: errcode.BinaryNotFound, Op: op, Subject: r.Firecracker, Err: fs.ErrNotExist, Hint: "download it"}
	}
	bin, err := privdir.Open(BinDir(s.dataDir))
	if err != nil {
		return err
	}
	defer func() { _ = bin.Close() }()
	if err := s.check(ctx, bin.Root(), r, s.digests.Afresh); err != nil {
		return failed(ctx, errcode.BinaryUnusable, op, r.Firecracker, err, "download it again")
	}
	return nil
}

// check returns why the stored binaries are not what was recorded of them.
func (s *Store) check(ctx context.Context, bin *os.Root, r Release, hash func(context.Context, *os.File) (string, error)) error {
	text, err := readPlain(bin, r.recordName())
	if err != nil {
		return fmt.Errorf("the record of its hashes: %w", err)
	}
	sums, err := parseSums(text)
	if err != nil {
		return fmt.Errorf("the record of its hashes: %w", err)
	}
	for _, name := range r.binaries() {
		got, err := hashPlain(ctx, bin, name, hash)
		if err != nil {
			return err
		}
		if got != sums[name] {
			return fmt.Errorf("%s has the SHA256 %s, %s was recorded", name, got, sums[name])
		}
	}
	return nil
}

// hashPlain hashes a program: a regular file that may be executed.
func hashPlain(ctx context.Context, dir *os.Root, name string, hash func(context.Context, *os.File) (string, error)) (string, error) {
	f, info, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info.Mode().Perm()&0o100 == 0 {
		return "", fmt.Errorf("%s is not executable", name)
	}
	return hash(ctx, f)
}

// maxText bounds the small texts that belong to a release: a few kilobytes are usual.
const maxText = 256 << 10

// readPlain returns the content of a small regular file.
func readPlain(dir *os.Root, name string) ([]byte, error) {
	f, _, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%s has more than %d bytes", name, maxText)
	}
	return text, err
}
