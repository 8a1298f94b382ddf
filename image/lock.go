package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// openLock opens a lock file, which is made and stays. Its lock is dropped when it
// is closed, or its process killed. Two opens exclude each other in one process too.
func openLock(dir *os.Root, name string) (*os.File, error) {
	return dir.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o600)
}
