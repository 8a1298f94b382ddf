package image

import (
	"context"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/privdir"
)

// CloneRootfs copies the image at the path source, a file or a block device, to
// the file name, mode 0600, and returns its path, [RootfsPath]. Where the file
// system can do it, the copy shares the blocks of the source and costs next to
// nothing; else the data between its holes are copied, after a look at the room.
//
// Errors: INVALID_CONFIG for a name with separators; NO_SPACE; CANCELLED;
// ROOTFS_CLONE_FAILED for all else, also when there is a file of that name, which
// is never replaced.
func (s *Store) CloneRootfs(ctx context.Context, source, name string) (string, error) {
	const op = "clone rootfs"
	if err := checkName(op, name); err != nil {
		return "", err
	}
	home, err := privdir.Ensure(RootfsDir(s.dataDir))
	if err != nil {
		return "", err
	}
	defer func() { _ = home.Close() }()
	err = makeFile(ctx, home.Root(), name, func(draft string) error {
		place, err := s.space.Choose(source, []*os.Root{home.Root()})
		if err != nil {
			return err
		}
		defer place.Release()
		_, err = place.Copy(ctx, draft)
		return err
	})
	if err == nil {
		return RootfsPath(s.dataDir, name), nil
	}
	if errcode.Of(err, errcode.RootfsCloneFailed) == errcode.StageFailed {
		// That is about a drive of a VM, and what failed here is a clone.
		err = &errcode.Error{Code: errcode.RootfsCloneFailed, Op: op, Subject: RootfsPath(s.dataDir, name), Err: err}
	}
	return "", failed(ctx, errcode.RootfsCloneFailed, op, RootfsPath(s.dataDir, name), err, hintFile(err))
}
