package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/stage"
)

const stageFamily = "staging"

// The image: four fifths of it are holes, and its data lies in extents of a MiB
// at random places.
const (
	mib        = 1 << 20
	imageMiB   = 2048
	dataMiB    = imageMiB / 5
	imageName  = "image"
	copyName   = "copy"
	methodSelf = "smartvm"
)

// pair is a place to copy from and one to copy to.
type pair struct {
	name     string
	from, to string
}

// pairs makes the directories. Where a file system can't be had, why is said.
func (l *lab) pairs(ctx context.Context) (pairs []pair, notes []string, err error) {
	disk, err := fsName(l.disk)
	if err != nil {
		return nil, nil, err
	}
	memory, err := fsName(l.memory)
	if err != nil {
		return nil, nil, err
	}
	pairs = []pair{
		{disk + " to " + memory, l.disk, l.memory},
		{disk + " to " + disk, l.disk, l.disk},
		{memory + " to " + memory, l.memory, l.memory},
	}
	xfs, missing := l.mountXFS(ctx)
	if missing != nil {
		notes = append(notes, "no reflinks on xfs: "+missing.Error())
	} else {
		pairs = append(pairs, pair{"xfs to xfs", xfs, xfs})
	}
	return pairs, notes, nil
}

func fsName(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "xfs",
		unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name := names[st.Type]; name != "" {
		return name, nil
	}
	return fmt.Sprintf("%#x", st.Type), nil
}

// mountXFS mounts an xfs that lives in a file on the disk.
func (l *lab) mountXFS(ctx context.Context) (string, error) {
	const size = 6 << 30
	file, dir := filepath.Join(l.disk, "xfs.img"), filepath.Join(l.disk, "xfs")
	if err := errors.Join(os.WriteFile(file, nil, fileMode), os.Truncate(file, size), os.Mkdir(dir, dirMode)); err != nil {
		return "", err
	}
	for _, command := range [][]string{{"mkfs.xfs", "-q", "-m", "reflink=1", file}, {"mount", "-o", "loop", file, dir}} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", command[0], err, out)
		}
	}
	l.cleanup = append(l.cleanup, func() error {
		return os.NewSyscallError("umount2", unix.Unmount(dir, 0)) // the kernel frees the loop device
	})
	return dir, nil
}

// writeImage makes the image and leaves it in the page cache.
func writeImage(dir string, random *rand.Rand) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, imageName), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(imageMiB * mib); err != nil {
		return err
	}
	data := make([]byte, mib)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for _, at := range random.Perm(imageMiB)[:dataMiB] {
		if _, err := f.WriteAt(data, int64(at)*mib); err != nil {
			return err
		}
	}
	return f.Sync() // blocks that are not allocated yet can't be shared
}

// stagedCopy is one copy.
type stagedCopy struct {
	took      time.Duration
	allocated int64  // bytes
	method    string // that smartvm chose
}

// bySmartvmStage copies as the start of a VM does.
func bySmartvmStage(ctx context.Context, p pair) (c stagedCopy, err error) {
	dir, err := os.OpenRoot(p.to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Join(p.to, copyName)), dir.Close()) }()
	began := time.Now()
	place, err := new(stage.Space).Choose(filepath.Join(p.from, imageName), []*os.Root{dir})
	if err != nil {
		return c, err
	}
	defer place.Release()
	result, err := place.Copy(ctx, copyName)
	c.took, c.method, c.allocated = time.Since(began), string(result.Method), result.Allocated
	return c, err
}

// compare makes copies by every way that the pair allows, in turns. A way that
// does not work in the first round is left out.
func (l *lab) compare(ctx context.Context, p pair, copies int) (done map[string][]stagedCopy, err error) {
	if err := writeImage(p.from, l.random); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(filepath.Join(p.from, imageName))) }()
	ways := stagingWays()
	unable := map[string]bool{}
	done = map[string][]stagedCopy{}
	for round := range copies + 1 {
		for _, i := range l.random.Perm(len(ways)) {
			if unable[ways[i].name] {
				continue
			}
			if err := pause(ctx, l.random); err != nil {
				return nil, err
			}
			c, err := ways[i].copy(ctx, p)
			switch {
			case errors.Is(err, errCannot) && round == 0:
				unable[ways[i].name] = true
			case err != nil:
				return nil, fmt.Errorf("staging %s by %s: %w", p.name, ways[i].name, err)
			case round > 0:
				done[ways[i].name] = append(done[ways[i].name], c)
			}
		}
	}
	return done, nil
}
