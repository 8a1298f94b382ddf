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

// CreateBlankRootfs makes an empty ext4 file system on a disk of sizeMiB MiB, the
// file name with mode 0600, and returns its path, [RootfsPath]. It has a journal
// and belongs to root, and neither root nor a tool is needed to make it. The file
// is sparse: it takes some 64 KiB of room per GiB and grows when the guest writes,
// up to its size, which is not reserved. Up to 3 MiB at the end may stay unused.
// The time goes with the size, some 5 ms per 128 MiB, until ctx ends.
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

// Figures of the file system, in blocks of the size of a guest's page.
const (
	blockSize       = 4 << 10
	blocksPerGroup  = 8 * blockSize // as many as a block of the group's bitmap has bits
	bytesPerInode   = 16 << 10      // as in mke2fs; the library's default takes twice the room for inodes
	inodeSize       = 256
	inodeTable      = blocksPerGroup * blockSize / bytesPerInode * inodeSize / blockSize // of a group
	descriptorSize  = 64
	descriptorsEach = blockSize / descriptorSize // of groups in a block
)

// usable is how much of a disk of size bytes the file system takes. A last group
// that has hardly room for its own tables is left out, by the rule of mke2fs: the
// library would put them behind the end of the disk.
func usable(size int64) int64 {
	blocks := size / blockSize
	whole, rest := blocks/blocksPerGroup, blocks%blocksPerGroup
	descriptors := whole/descriptorsEach + 1
	tables := 1 + descriptors + 2 + inodeTable // superblock, descriptors, bitmaps of blocks and inodes, inodes
	if whole > 0 && rest < tables+50 {
		blocks -= rest
	}
	return blocks * blockSize
}

// format makes an ext4 in an empty file, which then has size bytes.
func format(ctx context.Context, f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	disk := &blankDisk{File: f, ctx: ctx, written: map[int64]bool{}}
	_, err := ext4.Create(disk, usable(size), 0, int64(ext4.SectorSize512), &ext4.Params{
		SectorsPerBlock: uint8(blockSize / int(ext4.SectorSize512)),
		InodeRatio:      bytesPerInode,
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
