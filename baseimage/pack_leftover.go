package baseimage

import (
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// A directory in which a bundle is packed is locked, as directories can be, with
// flock. A killed process leaves it with a free lock, and the next one that packs
// beside it removes it.

// packName is the name of such a directory: see inNewDir.
var packName = regexp.MustCompile(`^\.new-[A-Z2-7]{26}$`)

// settled is how old a directory has to be before a free lock means anything: it is
// made first, and locked then.
const settled = time.Minute

// lockDir opens a directory and locks it; nil when another process has.
func lockDir(path string) *os.File {
	f, err := plainfile.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// sweepPacking removes what killed processes of this user have left in parent. What
// can't be removed does not keep anybody from packing.
func sweepPacking(parent string, now time.Time) {
	names, err := plainfile.Names(parent)
	if err != nil {
		return
	}
	for _, name := range names {
		path := filepath.Join(parent, name)
		if !packName.MatchString(name) || !leftOver(path, now) {
			continue
		}
		if lock := lockDir(path); lock != nil {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
}

func leftOver(path string, now time.Time) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return false
	}
	ours := st.Mode == unix.S_IFDIR|0o700 && int64(st.Uid) == int64(os.Geteuid())
	return ours && now.Sub(time.Unix(st.Mtim.Unix())) > settled
}
