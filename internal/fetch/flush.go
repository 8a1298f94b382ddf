package fetch

import (
	"os"

	"golang.org/x/sys/unix"
)

// flushStep is how much is written before the disk is set to work on it. Left to
// itself the kernel waits for seconds, and the fsync at the end would then have
// all of the file to wait for.
const flushStep = 8 << 20

// startFlush starts to write a range to the disk and does not wait for it. That
// it can fail does not matter: fsync reports what was not written.
func startFlush(f *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}
