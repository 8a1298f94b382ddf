package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/internal/stage"
)

// prisoner is the user of the jails here, and stranger one who has nothing to do with
// them.
const (
	prisoner = 1_900_000_001
	stranger = 1_900_000_002
)

// cell is a jail, and a directory of the host's own.
type cell struct {
	t     *testing.T
	jail  *Jail
	host  string
	space stage.Space
}

func newCell(t *testing.T) *cell {
	t.Helper()
	return newCellIn(t, t.TempDir())
}

func newCellIn(t *testing.T, base string) *cell {
	t.Helper()
	hosttest.Need(t, hosttest.Root)
	c := &cell{t: t, jail: New(base, "/bin/firecracker", "vm", prisoner), host: t.TempDir()}
	if err := c.jail.Make(); err != nil {
		t.Fatal(err)
	}
	// As the jailer does it.
	if err := os.Chown(c.jail.Root, prisoner, prisoner); err != nil {
		t.Fatal(err)
	}
	return c
}

// file makes a file of the host.
func (c *cell) file(name, text string, mode os.FileMode, uid int) string {
	c.t.Helper()
	path := filepath.Join(c.host, name)
	put(c.t, path, text)
	if err := errors.Join(os.Lchown(path, uid, uid), os.Chmod(path, mode)); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// enter brings files and returns the entrance.
func (c *cell) enter(files ...File) (*Entrance, error) {
	c.t.Helper()
	e, err := c.jail.Enter(&c.space)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := e.Close(); err != nil {
			c.t.Error(err)
		}
	})
	for _, f := range files {
		if err := e.Bring(c.t.Context(), f); err != nil {
			return e, err
		}
	}
	return e, nil
}

// inside calls f with a thread that is the prisoner's, in his jail.
func (c *cell) inside(f func(), files ...File) {
	c.t.Helper()
	e, err := c.enter(files...)
	if err != nil {
		c.t.Fatal(err)
	}
	err = proc.OnThread(func() error {
		if err := errors.Join(e.Isolate(), unix.Chroot(c.jail.Root), unix.Chdir("/")); err != nil {
			return err
		}
		if err := become(prisoner); err != nil {
			return err
		}
		f()
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// become changes the thread's user for good, and no other thread's.
func become(id uintptr) error {
	for _, call := range [][2]uintptr{{unix.SYS_SETGROUPS, 0}, {unix.SYS_SETRESGID, id}, {unix.SYS_SETRESUID, id}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], id*min(call[1], 1), id*min(call[1], 1)); errno != 0 {
			return errno
		}
	}
	return nil
}

func wantErrno(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// state is what must not change with a file of the host.
func state(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("owner %d:%d, mode %o, links %d, changed %v, %q", st.Uid, st.Gid, st.Mode, st.Nlink, st.Mtim, text)
}

func TestFileIsReadInTheJailAndStaysAsItIsOnTheHost(t *testing.T) {
	tests := map[string]struct {
		mode os.FileMode
		uid  int
	}{
		"everybody may":    {0o644, 0},
		"only root may":    {0o600, 0},
		"only another may": {0o600, stranger},
		"all but others":   {0o660, stranger},
		"nobody may write": {0o444, stranger},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCell(t)
			kernel := c.file("vmlinux", "text", tt.mode, tt.uid)
			before := state(t, kernel)
			c.inside(func() {
				if text, err := os.ReadFile("/kernel"); err != nil || string(text) != "text" {
					t.Errorf("read %q, %v", text, err)
				}
				for what, change := range map[string]func() error{
					"write":  func() error { return os.WriteFile("/kernel", []byte("changed"), 0) },
					"chmod":  func() error { return os.Chmod("/kernel", 0o777) },
					"chown":  func() error { return os.Chown("/kernel", prisoner, prisoner) },
					"utimes": func() error { return unix.Utimes("/kernel", []unix.Timeval{{}, {}}) },
				} {
					if err := change(); !errors.Is(err, unix.EROFS) {
						t.Errorf("%s: %v, want EROFS", what, err)
					}
				}
				wantErrno(t, "remove", os.Remove("/kernel"), unix.EBUSY)
				wantErrno(t, "rename", os.Rename("/kernel", "/other"), unix.EBUSY)
				wantErrno(t, "link", os.Link("/kernel", "/other"), unix.EXDEV)
			}, File{Host: kernel, Inside: "kernel", Access: Read})
			if after := state(t, kernel); after != before {
				t.Errorf("was %s\nis  %s", before, after)
			}
		})
	}
}

func TestFileIsWrittenInTheJailAndKeepsItsOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		mode os.FileMode
		uid  int
	}{"everybody may": {0o666, 0}, "only root may": {0o600, 0}, "only another may": {0o600, stranger}} {
		t.Run(name, func(t *testing.T) {
			c := newCell(t)
			disk := c.file("disk", "text", tt.mode, tt.uid)
			c.inside(func() {
				if err := os.WriteFile("/drive/disk", []byte("more"), 0); err != nil {
					t.Error(err)
				}
				if err := os.Chown("/drive/disk", 0, 0); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOVERFLOW) {
					t.Errorf("chown: %v, want EPERM, or EOVERFLOW for a user that the mount does not know", err)
				}
			}, File{Host: disk, Inside: "drive/disk", Access: Read | Write})
			if after := state(t, disk); !strings.HasPrefix(after, fmt.Sprintf("owner %d:%d, mode %o,", tt.uid, tt.uid, unix.S_IFREG|tt.mode)) || !strings.HasSuffix(after, `"more"`) {
				t.Errorf("is %s", after)
			}
		})
	}
}

func TestFileOfOursIsGivenAway(t *testing.T) {
	c := newCell(t)
	log := c.file("log", "", 0o600, 0)
	c.inside(func() {
		if err := os.WriteFile("/log", []byte("line"), 0); err != nil {
			t.Error(err)
		}
	}, File{Host: log, Inside: "log", Access: Read | Write | Ours})
	if got := state(t, log); !strings.HasPrefix(got, fmt.Sprintf("owner %d:%d, mode 100600,", prisoner, prisoner)) || !strings.HasSuffix(got, `"line"`) {
		t.Errorf("is %s", got)
	}
}

// withoutOwners is a file system that can't map owners.
func (c *cell) withoutOwners() string {
	c.t.Helper()
	return hosttest.Mount(c.t, "ramfs", map[string]string{"mode": "0700"}).Name()
}

func TestFileWhoseOwnerCannotBeMappedIsCopiedToBeRead(t *testing.T) {
	c := newCell(t)
	c.host = c.withoutOwners()
	kernel := c.file("vmlinux", "text", 0o600, 0)
	before := state(t, kernel)
	file := File{Host: kernel, Inside: "drive/kernel", Access: Read}
	for range 2 { // also where there is one already
		c.inside(func() {
			if text, err := os.ReadFile("/drive/kernel"); err != nil || string(text) != "text" {
				t.Errorf("read %q, %v", text, err)
			}
			wantErrno(t, "write", os.WriteFile("/drive/kernel", []byte("changed"), 0), unix.EACCES)
		}, file)
	}
	if after := state(t, kernel); after != before {
		t.Errorf("was %s\nis  %s", before, after)
	}
}

func TestFileWhoseOwnerCannotBeMappedIsRefusedToBeWritten(t *testing.T) {
	c := newCell(t)
	c.host = c.withoutOwners()
	disk := c.file("disk", "text", 0o600, 0)
	_, err := c.enter(File{Host: disk, Inside: "drive/disk", Access: Read | Write})
	if !errors.Is(err, ErrKeptOut) || !strings.Contains(err.Error(), disk) {
		t.Errorf("got %v, want that the user is kept out of %s", err, disk)
	}
	// Where everybody may, nothing has to be mapped.
	if err := os.Chmod(disk, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := c.enter(File{Host: disk, Inside: "drive/disk", Access: Read | Write}); err != nil {
		t.Error(err)
	}
}

// device makes a block device of a file.
func (c *cell) device(text string) string {
	c.t.Helper()
	return hosttest.LoopDevice(c.t, c.file("image", text+strings.Repeat("\x00", 4096-len(text)), 0o600, 0))
}

func TestBlockDeviceIsUsedAsItsAccessSays(t *testing.T) {
	for name, tt := range map[string]struct {
		access Access
		write  error
	}{"read-only": {Read, unix.EACCES}, "writable": {Read | Write, nil}} {
		t.Run(name, func(t *testing.T) {
			c := newCell(t)
			c.inside(func() {
				f, err := os.Open("/drive/disk")
				if err != nil {
					t.Error(err)
					return
				}
				text := make([]byte, 4)
				if _, err := f.Read(text); err != nil || string(text) != "text" {
					t.Errorf("read %q, %v", text, err)
				}
				_ = f.Close()
				// Whoever owns a file gives himself the permissions that he lacks.
				wantErrno(t, "chmod", os.Chmod("/drive/disk", 0o666), unix.EPERM)
				f, err = os.OpenFile("/drive/disk", os.O_WRONLY, 0)
				if !errors.Is(err, tt.write) {
					t.Errorf("open for writing: %v, want %v", err, tt.write)
				}
				if err == nil {
					_ = f.Close()
				}
				wantErrno(t, "mknod", unix.Mknod("/another", unix.S_IFBLK|0o600, 0), unix.EPERM)
			}, File{Host: c.device("text"), Inside: "drive/disk", Access: tt.access})
		})
	}
}

// The jail's user has put a link where a directory was, which leads out of his root on
// the host and nowhere in the jail.
func TestDeviceAndCopyDoNotFollowALinkOutOfTheJail(t *testing.T) {
	c := newCell(t)
	c.host = c.withoutOwners()
	kept := c.file("kernel", "text", 0o600, 0)
	away := t.TempDir()
	if err := os.Symlink(away, filepath.Join(c.jail.Root, "drive")); err != nil {
		t.Fatal(err)
	}
	c.host = t.TempDir()
	for what, host := range map[string]string{"device": c.device(""), "copy": kept, "bind": c.file("image2", "", 0o644, 0)} {
		if _, err := c.enter(File{Host: host, Inside: "drive/disk", Access: Read}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if left, err := os.ReadDir(away); err != nil || len(left) > 0 {
		t.Errorf("left outside: %v, %v", left, err)
	}
}

// As /dev/shm is mounted in containers and by some distributions.
func TestJailWorksWhereNothingMayBeExecutedAndNoDeviceOpened(t *testing.T) {
	hosttest.Isolate(t)
	base := t.TempDir()
	if err := unix.Mount("tmpfs", base, "tmpfs", unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOSUID, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(base, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	c := newCellIn(t, base)
	null := filepath.Join(c.jail.Root, "null")
	program := filepath.Join(c.jail.Root, "program")
	put(t, program, "")
	if err := errors.Join(unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chown(null, prisoner, prisoner), os.Chmod(program, 0o755)); err != nil {
		t.Fatal(err)
	}
	_, err := os.OpenFile(null, os.O_WRONLY, 0)
	wantErrno(t, "without the jail, open a device", err, unix.EACCES)
	wantErrno(t, "without the jail, execute", unix.Access(program, unix.X_OK), unix.EACCES)
	e, err := c.enter(File{Host: c.file("kernel", "text", 0o600, 0), Inside: "kernel", Access: Read})
	if err != nil {
		t.Fatal(err)
	}
	// Not c.inside: a thread of OnThread is not in the namespace of this test.
	if err := e.Isolate(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(null, []byte("x"), 0); err != nil {
		t.Error(err)
	}
	if err := unix.Access(program, unix.X_OK); err != nil {
		t.Error("execute: ", err)
	}
	if text, err := os.ReadFile(filepath.Join(c.jail.Root, "kernel")); err != nil || string(text) != "text" {
		t.Errorf("read %q, %v", text, err)
	}
}

// mountsOf lists the mounts that a thread sees.
func mountsOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func TestHostNeverSeesTheMountsOfAJail(t *testing.T) {
	hosttest.Isolate(t)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil { // as systemd has it
		t.Fatal(err)
	}
	c := newCell(t)
	e, err := c.enter(File{Host: c.file("kernel", "text", 0o600, 0), Inside: "kernel", Access: Read})
	if err != nil {
		t.Fatal(err)
	}
	host := fmt.Sprintf("/proc/self/task/%d/mountinfo", unix.Gettid())
	before := mountsOf(t, host)
	there, leave := make(chan error), make(chan struct{})
	over := make(chan error)
	ours, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	go func() {
		over <- proc.OnThread(func() error {
			err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ours.Fd()), unix.CLONE_NEWNS), e.Isolate())
			there <- err
			<-leave
			if n := len(mountsOf(t, "/proc/thread-self/mountinfo")); n != len(before)+2 { // the root, and the kernel
				t.Errorf("%d mounts in the jail's namespace, want 2 more than %d", n, len(before))
			}
			return err
		})
	}()
	if err := <-there; err != nil {
		t.Fatal(err)
	}
	if during := mountsOf(t, host); !slices.Equal(during, before) {
		t.Errorf("while it runs: %q\nbefore: %q", during, before)
	}
	close(leave)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if after := mountsOf(t, host); !slices.Equal(after, before) {
		t.Errorf("afterwards: %q\nbefore: %q", after, before)
	}
}

func TestJailIsUsedOnce(t *testing.T) {
	c := newCell(t)
	wantErrno(t, "a second time", c.jail.Make(), os.ErrExist)
	other := New(t.TempDir(), "firecracker", "vm", prisoner)
	if err := os.MkdirAll(filepath.Dir(other.Root), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), other.Root); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "where a link is", other.Make(), os.ErrExist)
}

func TestFreshFileIsGivenAwayOnlyWhereItsOwnerCannotBeMapped(t *testing.T) {
	c := newCell(t)
	write := Read | Write | Fresh
	mapped := c.file("log", "", 0o600, 0)
	c.host = c.withoutOwners()
	given := c.file("log", "", 0o600, 0)
	c.inside(func() {
		for _, path := range []string{"/log", "/metrics"} {
			if err := os.WriteFile(path, []byte("line"), 0); err != nil {
				t.Error(err)
			}
		}
	}, File{Host: mapped, Inside: "log", Access: write}, File{Host: given, Inside: "metrics", Access: write})
	for path, owner := range map[string]int{mapped: 0, given: prisoner} {
		if got := state(t, path); !strings.HasPrefix(got, fmt.Sprintf("owner %d:%d, mode 100600,", owner, owner)) || !strings.HasSuffix(got, `"line"`) {
			t.Errorf("%s is %s", path, got)
		}
	}
	// What has come in its place is not given away.
	for name, path := range map[string]string{
		"with content": c.file("shadow", "secret", 0o600, 0), "of another": c.file("other", "", 0o600, stranger),
	} {
		before := state(t, path)
		if _, err := c.enter(File{Host: path, Inside: "serial", Access: write}); !errors.Is(err, ErrKeptOut) {
			t.Errorf("%s: %v", name, err)
		}
		if after := state(t, path); after != before {
			t.Errorf("%s: was %s, is %s", name, before, after)
		}
	}
}
