package pack_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pack"
)

func TestExt4CanBeWrittenTo(t *testing.T) {
	hosttest.Need(t, hosttest.Root, hosttest.Loop)
	needTools(t, pack.Ext4)
	path := image(t, open(t, small(t)), pack.Options{Format: pack.Ext4})
	writeInto(t, path)
	if out, err := exec.CommandContext(t.Context(), "/sbin/e2fsck", "-fn", path).CombinedOutput(); err != nil {
		t.Errorf("after use: %v\n%s", err, out)
	}
}

// writeInto makes more files than tar2ext4 left inodes for, and fills most of the
// room. The image is no longer mounted when it returns.
func writeInto(t *testing.T, path string) {
	t.Helper()
	t.Run("mounted", func(t *testing.T) {
		root := hosttest.Mount(t, "ext4", map[string]string{"source": hosttest.LoopDevice(t, path)})
		for i := range 3000 {
			if err := root.WriteFile("new-"+strconv.Itoa(i), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2000 {
			if err := root.Remove("new-" + strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := root.WriteFile("large", make([]byte, 40<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		content, err := root.ReadFile("file")
		if err != nil || string(content) != "content" {
			t.Errorf("a file that was packed has %q, %v", content, err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(root.Name()+"/.", &st); err != nil || st.Ffree < 5000 {
			t.Errorf("%d inodes are free, %v", st.Ffree, err)
		}
	})
}

func TestExt4HasTheSizeThatIsAskedFor(t *testing.T) {
	t.Parallel()
	needTools(t, pack.Ext4)
	for _, tt := range []struct {
		asked, want int64 // in MiB
		code        errcode.Code
	}{
		{asked: 0, want: 68},
		{asked: 64, want: 64},
		{asked: 10240, want: 10240},
		{asked: 63, code: errcode.InvalidConfig},
		{asked: -1, code: errcode.InvalidConfig},
		{asked: 1<<20 + 1, code: errcode.InvalidConfig},
	} {
		path := filepath.Join(t.TempDir(), "rootfs")
		err := pack.Image(t.Context(), open(t, small(t)), path, pack.Options{Format: pack.Ext4, SizeMiB: tt.asked})
		if tt.code != "" {
			if !errors.Is(err, tt.code) {
				t.Errorf("%d MiB: got %v, want %s", tt.asked, err, tt.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d MiB: %v", tt.asked, err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Size != tt.want<<20 || st.Mode&0o777 != 0o644 {
			t.Errorf("%d MiB: size %d, mode %o, %v", tt.asked, st.Size, st.Mode, err)
		}
		if used := st.Blocks * 512; used > 16<<20 {
			t.Errorf("%d MiB: occupies %d bytes, so it has lost its holes", tt.asked, used)
		}
	}
}

func TestWhatExt4CanNotHoldIsRefused(t *testing.T) {
	t.Parallel()
	needTools(t, pack.Ext4)
	m := maker{t, small(t)}
	for i := range 13 {
		m.xattr("file", "user.a"+strconv.Itoa(i), "")
	}
	e := fails(t, t.Context(), open(t, m.root), pack.Options{Format: pack.Ext4}, errcode.RootfsCreateFailed)
	if !strings.Contains(e.Error(), `entry "file"`) {
		t.Errorf("got %v", e)
	}
	m = maker{t, small(t)}
	m.must(os.Truncate(m.path("file"), 33<<30))
	fails(t, t.Context(), open(t, m.root), pack.Options{Format: pack.Ext4}, errcode.RootfsCreateFailed)
}
