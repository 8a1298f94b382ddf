package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/proc"
)

// program makes a program of the host that prints what it is, and a copy of it.
func (c *cell) program(b *Bare, sharers string) (*Program, string) {
	c.t.Helper()
	path := filepath.Join(c.host, "firecracker")
	if _, err := os.Lstat(path); err != nil {
		data, err := os.ReadFile("/bin/true")
		if err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	p, err := b.Program(path, sharers)
	if err != nil {
		c.t.Fatal(err)
	}
	return p, path
}

func newBareWorld(t *testing.T) (*Bare, *Void) {
	t.Helper()
	bare, void := &Bare{}, &Void{}
	t.Cleanup(func() {
		if err := errors.Join(bare.Close(), void.Close()); err != nil {
			t.Error(err)
		}
	})
	return bare, void
}

// enclosed calls f with a thread that is the prisoner's, in his jail, for which no jailer
// is needed.
func (c *cell) enclosed(bare *Bare, void *Void, f func(), files ...File) {
	c.t.Helper()
	e, err := c.enter(files...)
	if err != nil {
		c.t.Fatal(err)
	}
	program, _ := c.program(bare, "snapshot")
	defer func() {
		if err := program.Return(); err != nil {
			c.t.Error(err)
		}
	}()
	e.Void = void
	if err := e.Furnish(program); err != nil {
		c.t.Fatal(err)
	}
	err = proc.OnThread(func() error {
		if err := errors.Join(bare.Unshare(void), e.Enclose(), become(prisoner)); err != nil {
			return err
		}
		f()
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestEnclosedThreadHasItsFilesAndNothingElse(t *testing.T) {
	c := newCell(t)
	bare, void := newBareWorld(t)
	disk := c.file("disk", "disk", 0o600, 0)
	secret := c.file("secret", "secret", 0o644, 0)
	c.enclosed(bare, void, func() {
		names, err := filepath.Glob("/*")
		if got := strings.Join(names, " "); err != nil || got != "/dev /drive /firecracker /kernel" {
			t.Errorf("its world is %s, %v", got, err)
		}
		for _, path := range []string{secret, "/.." + secret, "../../../../../.." + secret, "/proc/self/root" + secret} {
			_, err := os.ReadFile(path)
			wantErrno(t, "read "+path, err, os.ErrNotExist)
		}
		if text, err := os.ReadFile("/kernel"); err != nil || string(text) != "kernel" {
			t.Errorf("the kernel is %q, %v", text, err)
		}
		_, err = os.OpenFile("/kernel", os.O_WRONLY, 0)
		wantErrno(t, "write to the kernel", err, unix.EROFS)
		if err := os.WriteFile("/drive/disk", []byte("disk, written"), 0); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile("/api-socket", nil, 0o600); err != nil { // as Firecracker makes it
			t.Error(err)
		}
		wantErrno(t, "execute the program", unix.Access("/firecracker", unix.X_OK), nil)
		wantErrno(t, "execute a drive", unix.Access("/drive/disk", unix.X_OK), unix.EACCES)
		for name, want := range map[string]error{"dev/kvm": nil, "dev/urandom": nil, "dev/new": unix.EROFS, "firecracker": unix.EACCES} {
			fd, err := unix.Open("/"+name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			if err == nil {
				_ = unix.Close(fd)
			}
			if name == "dev/kvm" && errors.Is(err, unix.ENXIO) { // a host without KVM
				err = nil
			}
			wantErrno(t, "open "+name, err, want)
		}
		wantErrno(t, "change the mode of a device", os.Chmod("/dev/kvm", 0o600), unix.EROFS)
		wantErrno(t, "change the root", unix.Chroot("/dev"), unix.EPERM)
	}, File{Host: c.file("kernel", "kernel", 0o600, 0), Inside: "kernel", Access: Read}, File{Host: disk, Inside: "drive/disk", Access: Read | Write})
	if text, err := os.ReadFile(disk); err != nil || string(text) != "disk, written" {
		t.Errorf("the disk is %q, %v", text, err)
	}
	if _, err := os.Lstat(c.jail.Path("dev/kvm")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host sees the jail's devices: %v", err)
	}
}

// Whoever could change his root again would find that there is nothing behind it.
func TestNothingIsBehindAnEnclosedThread(t *testing.T) {
	c := newCell(t)
	bare, void := newBareWorld(t)
	e, err := c.enter()
	if err != nil {
		t.Fatal(err)
	}
	program, _ := c.program(bare, "snapshot")
	if err := errors.Join(e.Furnish(program)); err != nil {
		t.Fatal(err)
	}
	err = proc.OnThread(func() error {
		if err := errors.Join(bare.Unshare(void), e.Enclose()); err != nil {
			return err
		}
		// As root: the classic way out of a chroot.
		if err := errors.Join(os.Mkdir("out", 0o700), unix.Chroot("out"), unix.Chdir("../../../../..")); err != nil {
			return err
		}
		names, err := filepath.Glob("*")
		for _, name := range names {
			if name != "dev" && name != "firecracker" && name != "out" {
				t.Errorf("behind the jail there is %s", name)
			}
		}
		return err
	})
	if err := errors.Join(err, program.Return()); err != nil {
		t.Fatal(err)
	}
}

func TestNothingCanBeMadeInTheIPCOfJails(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	void := &Void{}
	defer void.Close()
	err := proc.OnThread(func() error {
		if err := void.separate(); err != nil {
			return err
		}
		for _, kind := range []string{"ipc", "uts"} {
			here, err := os.Readlink("/proc/thread-self/ns/" + kind)
			if hosts, _ := os.Readlink("/proc/self/ns/" + kind); err != nil || here == hosts {
				t.Errorf("it is in %s, as the host is: %v", here, err)
			}
		}
		if void.own {
			t.Skip("the kernel's settings can't be written here")
		}
		for what, call := range map[string][4]uintptr{
			"segment": {unix.SYS_SHMGET, 1, 4096, unix.IPC_CREAT | 0o600}, "queue": {unix.SYS_MSGGET, 1, unix.IPC_CREAT | 0o600},
			"semaphores": {unix.SYS_SEMGET, 1, 1, unix.IPC_CREAT | 0o600},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); !errors.Is(errno, unix.ENOSPC) && !errors.Is(errno, unix.EINVAL) { // of semaphores none in a set
				t.Errorf("make a %s: %v", what, errno)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Where the kernel's settings can't be written, as in many containers.
func TestIPCThatCannotBeSharedIsEachJailsOwn(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	seen := map[string]bool{}
	for _, void := range []*Void{nil, {own: true}, {own: true}} {
		err := proc.OnThread(func() error {
			if err := void.separate(); err != nil {
				return err
			}
			ipc, err := os.Readlink("/proc/thread-self/ns/ipc")
			seen[ipc] = true
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if hosts, err := os.Readlink("/proc/self/ns/ipc"); err != nil || seen[hosts] {
		t.Errorf("a jail is in the host's, %v", err)
	}
}

// inode tells the file of a copy from others.
func inode(t *testing.T, p *Program) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.bare.root.Fd()), p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// programs counts the copies that there are.
func programs(t *testing.T, b *Bare) int {
	t.Helper()
	names, err := plainfile.Names(fmt.Sprintf("/proc/self/fd/%d", b.root.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return len(names) - 1 // without the devices
}

func TestCopyOfAProgramIsForThoseWhoShareIt(t *testing.T) {
	c := newCell(t)
	bare, _ := newBareWorld(t)
	one, path := c.program(bare, "one")
	again, _ := c.program(bare, "one")
	other, _ := c.program(bare, "other")
	if inode(t, one) != inode(t, again) || inode(t, one) == inode(t, other) {
		t.Error("not those who share a snapshot share a copy, and nobody else")
	}
	for _, p := range []*Program{one, again} {
		if n := programs(t, bare); n != 2 { // the first one is in use
			t.Errorf("there are %d programs", n)
		}
		if err := p.Return(); err != nil {
			t.Error(err)
		}
	}
	if err := other.Return(); err != nil {
		t.Error(err)
	}
	if n := programs(t, bare); n != 1 { // the last one is kept
		t.Errorf("there are %d programs", n)
	}
	put(t, path, "another release")
	next, _ := c.program(bare, "other")
	if next == other {
		t.Error("a program that was replaced is taken for the same")
	}
	if err := next.Return(); err != nil {
		t.Error(err)
	}
}

func TestProgramThatCannotBeCopiedIsNamedAndLeavesNothing(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	bare, _ := newBareWorld(t)
	if _, err := bare.Program("/none/firecracker", "one"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/none/firecracker") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir() // which can be opened, and not read
	if _, err := bare.Program(dir, "one"); !errors.Is(err, unix.EISDIR) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if n := programs(t, bare); n != 0 {
		t.Errorf("%d programs are left", n)
	}
}

func TestNothingIsForkedWhileAProgramIsCopied(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	bare, _ := newBareWorld(t)
	slow := filepath.Join(t.TempDir(), "firecracker")
	if err := unix.Mkfifo(slow, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		p, err := bare.Program(slow, "one")
		if err == nil {
			err = p.Return()
		}
		done <- err
	}()
	feed, err := os.OpenFile(slow, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); syscall.ForkLock.TryLock(); time.Sleep(time.Millisecond) {
		syscall.ForkLock.Unlock()
		if time.Since(began) > 10*time.Second {
			t.Error("processes are forked that have the copy open")
			break
		}
	}
	if err := errors.Join(feed.Close(), <-done); err != nil {
		t.Fatal(err)
	}
	if !syscall.ForkLock.TryLock() {
		t.Fatal("forks are held up for ever")
	}
	syscall.ForkLock.Unlock()
}

// A file that is open for writing can't be executed, and a process that is being started has
// all of ours open.
func TestProgramCanBeExecutedWhateverElseIsStarted(t *testing.T) {
	c := newCell(t)
	bare, void := newBareWorld(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	program := filepath.Join(c.host, "firecracker")
	data, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(program, append(data, make([]byte, 8<<20)...), 0o700) // it takes a while to copy
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(j *Jail) error {
		if err := j.Make(); err != nil {
			return err
		}
		e, err := j.Enter(&c.space)
		if err != nil {
			return err
		}
		p, err := bare.Program(program, j.Root) // a copy for each
		if err != nil {
			return errors.Join(err, e.Close())
		}
		err = e.Furnish(p)
		if err == nil {
			var process *proc.Process
			process, err = proc.Start(proc.Spec{
				Path: "/firecracker", Dir: "/", Stdin: null, Stdout: null, Stderr: null, Closed: true,
				User: &proc.User{UID: j.UID, GID: j.GID}, Limits: Limits{}.List(),
				Isolate: func() error { return errors.Join(bare.Unshare(void), e.Enclose()) },
			})
			if process != nil {
				<-process.Done()
			}
		}
		if errors.Is(err, os.ErrNotExist) { // its loader, which is not in the jail: it was executed
			err = nil
		}
		return errors.Join(err, p.Return(), e.Close())
	}
	var wg sync.WaitGroup
	for i := range 32 {
		j := &Jail{Root: filepath.Join(t.TempDir(), "jail"), UID: prisoner + i, GID: prisoner + i}
		wg.Go(func() {
			if err := run(j); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
