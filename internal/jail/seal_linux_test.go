package jail

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInASealedJailNothingIsMadeAndNothingMoved(t *testing.T) {
	c := newCell(t)
	i := c.confine(File{Host: c.file("one", "1", 0o600, 0), Inside: "drive/disk", Access: Read})
	i.want("ok", "serve /socket")
	i.want("ok", "create /own")
	if err := c.jail.Seal(); err != nil {
		t.Fatal(err)
	}
	for _, try := range []string{
		"create /new", "mkdir /new", "symlink / /new", "serve /new", "rename /socket /moved", "rename /drive /moved",
		"create /dev/new", "create /dev/net/new", "create /run/new", "create /drive/new", "remove /socket",
	} {
		i.want("EACCES", "%s", try)
	}
	for _, try := range []string{"read /drive/disk", "connect /socket", "write /own", "read /dev/urandom"} {
		i.want("ok*", "%s", try)
	}
	i.want("EPERM", "chmod / 0777")
	// Also for what is brought later.
	if err := c.joins(i, File{Host: c.file("two", "2", 0o600, 0), Inside: "drive/more", Access: Read}); err != nil {
		t.Fatal(err)
	}
	i.want(`ok "2"`, "read /drive/more")
}

func TestSealFollowsNoLink(t *testing.T) {
	c := newCell(t)
	away := filepath.Join(t.TempDir(), "away")
	if err := errors.Join(os.Mkdir(away, 0o700), os.Chown(away, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(away, filepath.Join(c.jail.Root, "dev")); err != nil {
		t.Fatal(err)
	}
	_ = c.jail.Seal() // whether it complains of what nobody but an enemy makes is the same
	var st unix.Stat_t
	if err := unix.Stat(away, &st); err != nil || st.Uid != stranger || st.Mode&0o777 != 0o700 {
		t.Errorf("owner %d, mode %o, %v", st.Uid, st.Mode, err)
	}
}
