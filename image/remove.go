package image

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/privdir"
)

// Remove removes the Firecracker and the jailer of a release, and what an
// unfinished download of it has left. The error is BINARY_NOT_FOUND when there is
// no such release. A microVM that runs it goes on, but can't be restarted.
func (s *Store) Remove(ctx context.Context, v firecracker.Version) error {
	const op = "remove firecracker"
	r := s.release(v)
	missing := &errcode.Error{Code: errcode.BinaryNotFound, Op: op, Subject: r.Firecracker, Err: fs.ErrNotExist}
	if _, err := os.Lstat(BinDir(s.dataDir)); errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	bin, err := privdir.Open(BinDir(s.dataDir))
	if err != nil {
		return err
	}
	defer func() { _ = bin.Close() }()
	claim, err := claimRelease(ctx, bin.Root(), r)
	if err != nil {
		return failed(ctx, errcode.DirectoryFailed, op, r.Firecracker, err, "")
	}
	defer claim.Close()
	found := false
	for _, name := range r.binaries() {
		there, err := exists(bin.Root(), name)
		if err != nil {
			return failed(ctx, errcode.DirectoryFailed, op, r.Firecracker, err, "")
		}
		found = found || there
	}
	// A Firecracker that exists has its jailer, so it goes first.
	mine := []string{r.name(), jailerName(r.Version, r.Arch), r.recordName()}
	for _, name := range append(mine, r.leftovers()...) {
		if err := bin.RemoveAll(name); err != nil {
			return err
		}
	}
	if !found {
		return missing
	}
	return nil
}
