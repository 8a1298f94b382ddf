package image

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/privdir"
)

// Limits of [Store.CreateBlankRootfs], in MiB. The least has room for the journal,
// of 4 MiB, and some files; ext4 with blocks of 4 KiB, and an ext4 that holds the
// image, end at 16 TiB.
const (
	MinBlankMiB = 8
	MaxBlankMiB = 16<<20 - 1
)

// CreateBlankRootfs makes an empty ext4 file system of sizeMiB MiB as the file
// name, mode 0600, and returns its path, [RootfsPath]. It has a journal, belongs
// to root, and needs neither root nor a tool to be made. The file is sparse: it
// takes some 64 KiB of room per GiB and grows when the guest writes, up to its
// size, which is not reserved. The time goes with the size: some 5 ms per 128 MiB,
// until ctx ends.
//
// Errors: INVALID_CONFIG for a name with separators or a size out of limits;
// NO_SPACE; CANCELLED; ROOTFS_CREATE_FAILED for all else, also when there is a
// file of that name, which is never replaced.
func (s *Store) CreateBlankRootfs(ctx context.Context, name string, sizeMiB int64) (string, error) {
	const op = "create rootfs"
	if err := checkName(op, name); err != nil {
		return "", err
	}
	if sizeMiB < MinBlankMiB || sizeMiB > MaxBlankMiB {
		return "", invalid(op, name, fmt.Errorf("the size is %d MiB, allowed are %d to %d", sizeMiB, MinBlankMiB, MaxBlankMiB))
	}
	home, err := privdir.Ensure(RootfsDir(s.dataDir))
	if err != nil {
		return "", err
	}
	defer func() { _ = home.Close() }()
	err = makeFile(ctx, home.Root(), name, func(draft string) error {
		f, err := home.Create(draft)
		if err != nil {
			return err
		}
		return errors.Join(format(ctx, f, sizeMiB<<20), f.Close())
	})
	if err != nil {
		return "", failed(ctx, errcode.RootfsCreateFailed, op, RootfsPath(s.dataDir, name), err, hintFile(err))
	}
	return RootfsPath(s.dataDir, name), nil
}

// format makes an ext4 of size bytes in an empty file.
func format(ctx context.Context, f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	disk := &blankDisk{File: f, ctx: ctx, written: map[int64]bool{}}
	_, err := ext4.Create(disk, size, 0, int64(ext4.SectorSize512), &ext4.Params{
		SectorsPerBlock: 8,         // 4 KiB, the page of the guest, whatever the size
		InodeRatio:      16 << 10,  // as mke2fs does; the default takes twice the room for inodes
		VolumeName:      "smartvm", // or it would be the library's name
		Features: []ext4.FeatureOpt{
			// The library can't lay out the room for growth with blocks of this size;
			// resize2fs can do without.
			ext4.WithFeatureReservedGDTBlocksForExpansion(false),
		},
	})
	if disk.err != nil {
		return disk.err
	}
	return err
}

// hintFile says what to do when a file can't be made.
func hintFile(err error) string {
	switch {
	case errors.Is(err, errExists):
		return "choose another name, or remove the file first"
	case errors.Is(err, unix.EFBIG):
		return "the file system of the data directory can't hold a file that large"
	default:
		return ""
	}
}
