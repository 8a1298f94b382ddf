package fetch_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// mount puts the scene onto a file system that is mounted nowhere: only its
// descriptor reaches it, so it is gone with the test.
func (s *scene) mount(kind string, options map[string]string) {
	s.Helper()
	hosttest.Need(s.T, hosttest.Root)
	fsfd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		s.Skipf("the kernel has no %s: %v", kind, err)
	}
	defer func() { _ = unix.Close(fsfd) }()
	for key, value := range options {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			s.Fatalf("%s=%s: %v", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		s.Fatal(err)
	}
	mount, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = unix.Close(mount) })
	s.dir = openRoot(s.T, fmt.Sprintf("/proc/self/fd/%d", mount))
}

func TestFullDiskIsNoSpaceAndIsNotLeftFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   fetchtest.Fault
		details int
	}{
		"the size is known":   {fetchtest.Fault{}, 2},
		"the size is unknown": {fetchtest.Fault{NoLength: true}, 0},
	} {
		for _, scheme := range []string{"http", "file"} {
			t.Run(name+" by "+scheme, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				s.mount("tmpfs", map[string]string{"size": "1m"})
				data, src := s.put(2 << 20)
				src = unknown(src)
				details := tt.details
				if scheme == "file" {
					src.URL, details = fileURL(writeFile(t, data)), 2
				}
				s.site.Misbehave("/file", tt.fault)
				e := s.wantError(src, errcode.NoSpace)
				if e.Subject != src.URL || e.Hint == "" || len(e.Details) != details {
					t.Errorf("got %v with %v", e, e.Details)
				}
				if details == 2 && !strings.Contains(e.Error(), "needs 2097152 bytes more") {
					t.Errorf("got %v", e)
				}
				if details == 0 && !errors.Is(e, unix.ENOSPC) {
					t.Errorf("got %v", e)
				}
				s.wantNames("")
				if n := s.site.Requests("/file"); n > 1 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

func TestFullDiskForTheRecordIsNoSpace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.mount("tmpfs", map[string]string{"size": "64k", "nr_inodes": "2"}) // the root and the part
	_, src := s.put(size)
	s.wantError(src, errcode.NoSpace)
	s.wantNames("")
	if n := s.site.Requests("/file"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestFileURLSharesBlocksWhereItCan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	hosttest.Need(t, hosttest.Root, hosttest.Tool("mkfs.btrfs"))
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.btrfs", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.btrfs: %v\n%s", err, out)
	}
	s.mount("btrfs", map[string]string{"source": loop(t, image)})
	data := randomBytes(64 << 20)
	if err := s.dir.WriteFile("source", data, 0o600); err != nil {
		t.Fatal(err)
	}
	src := source(fileURL(s.dir.Name()+"/source"), data)
	// More than there is room for: only a reflink can do it.
	for range 6 {
		if _, err := s.file(src); err != nil {
			t.Fatal(err)
		}
		s.wantContent(data)
		if err := s.dir.Rename("name", strings.Repeat("x", 1+s.count())); err != nil {
			t.Fatal(err)
		}
	}
	src.SHA256 = hashOf(nil)
	s.wantError(src, errcode.DownloadFailed)
	if _, err := s.dir.Lstat("name"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a reflink is not verified: %v", err)
	}
}

// count is how many names the directory has.
func (s *scene) count() int {
	entries, err := os.ReadDir(s.dir.Name())
	if err != nil {
		s.Fatal(err)
	}
	return len(entries)
}

// loop makes a block device of a file. The kernel drops it with its last user.
func loop(t *testing.T, image string) string {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs loop devices: ", err)
	}
	defer control.Close()
	back, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	for range 50 { // another process may take the free number first
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/dev/loop%d", number)
		device, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		config := unix.LoopConfig{Fd: uint32(back.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if unix.IoctlLoopConfigure(int(device.Fd()), &config) == nil {
			t.Cleanup(func() { _ = device.Close() })
			return path
		}
		_ = device.Close()
	}
	t.Fatal("no free loop device")
	return ""
}
