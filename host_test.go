package smartvm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// mount mounts until the end of the test.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mount %s: %v", target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

const nobody = 65534

// asNobody runs f with a thread that may do nothing.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	become := func(id uintptr) { // the saved user stays root, to come back
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, 0); errno != 0 {
			t.Fatal("become another user: ", errno)
		}
	}
	runtime.LockOSThread() // else f goes on as root, and somebody else as nobody
	defer runtime.UnlockOSThread()
	become(nobody)
	defer become(0)
	f()
}

func TestKVMThatDoesNotWorkIsReportedBeforeAnythingIsMade(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	node := func(t *testing.T) string {
		t.Helper()
		path := filepath.Join(shortDir(t), "kvm")
		must(t, unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 232))))
		return path
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T)
		cause error
	}{
		{"missing", func(t *testing.T) { t.Helper(); mount(t, "tmpfs", "/dev", "tmpfs", 0, "") }, unix.ENOENT},
		{"another device", func(t *testing.T) { t.Helper(); mount(t, "/dev/null", "/dev/kvm", "", unix.MS_BIND, "") }, unix.ENOTTY},
		{"forbidden", func(t *testing.T) { t.Helper(); mount(t, node(t), "/dev/kvm", "", unix.MS_BIND, "") }, unix.EACCES},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hosttest.Isolate(t)
			s := newSite(t, smartvm.Options{FirecrackerPath: fake{}.install(t)})
			tt.spoil(t)
			vm := s.create("", s.config())
			var err error
			if errors.Is(tt.cause, unix.EACCES) {
				asNobody(t, func() { err = vm.Start(t.Context()) })
			} else {
				err = vm.Start(patient(t))
			}
			wantUndone(t, vm, err, smartvm.KVMUnavailable)
			if !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), "/dev/kvm") {
				t.Errorf("got %v, want %v and /dev/kvm in it", err, tt.cause)
			}
		})
	}
}

func TestImageThatDoesNotFitIsNoSpace(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	hosttest.Isolate(t)
	small := shortDir(t)
	mount(t, "tmpfs", small, "tmpfs", 0, "size=1m,mode=0700")
	must(t, os.Mkdir(small+"/data", 0o700))
	must(t, os.Mkdir(small+"/run", 0o700))
	s := newSite(t, smartvm.Options{FirecrackerPath: fake{}.install(t), RuntimeDir: small + "/run", DataDir: small + "/data"})
	config := s.config()
	image := s.image("disk", strings.Repeat("x", 2<<20), 4<<20)
	config.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "data", PathOnHost: image}}}
	vm := s.create("", config)
	err := vm.Start(patient(t))
	wantUndone(t, vm, err, "NO_SPACE")
	for _, text := range []string{"data", image, "MiB"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
	if left := tree(t, small); len(left) != 4 { // itself, data, data/staging, run
		t.Errorf("left: %v", left)
	}
}

// A page is the unit of a tmpfs: with one more each time, a start gets one write further.
func TestStartUndoesItselfWhereverTheRuntimeDirectoryIsFull(t *testing.T) {
	hosttest.Need(t, hosttest.KVM, hosttest.Root)
	path := fake{}.install(t)
	for _, option := range []string{"size=%dk,mode=0700", "nr_inodes=%d,mode=0700"} {
		steps := 0
		for n := 1; ; n++ {
			amount := n
			if strings.HasPrefix(option, "size") {
				amount *= 4
			}
			failed := true // also when it ends early
			t.Run(fmt.Sprintf(option, amount), func(t *testing.T) { failed = startsFull(t, path, fmt.Sprintf(option, amount)) })
			if !failed {
				break
			}
			if steps++; steps > 30 {
				t.Fatal("the start never succeeds")
			}
		}
		if steps == 0 {
			t.Errorf("%s: no start failed", option)
		}
	}
}

// startsFull reports whether a start fails in a file system of this size.
func startsFull(t *testing.T, path, options string) bool {
	t.Helper()
	full := shortDir(t) // not in a namespace: what watches the process has to see it too
	mount(t, "tmpfs", full, "tmpfs", 0, options)
	s := newSite(t, smartvm.Options{FirecrackerPath: path, RuntimeDir: full})
	vm := s.create("vm", s.config())
	err := vm.Start(patient(t))
	if err == nil {
		must(t, vm.Cleanup(patient(t)))
		return false
	}
	// Firecracker itself may be the one that finds no room, for its socket.
	if !errors.Is(err, smartvm.ProcessExited) || !strings.Contains(err.Error(), "no space left") {
		wantUndone(t, vm, err, "NO_SPACE")
	}
	if left := tree(t, full); len(left) != 1 {
		t.Errorf("left: %v after %v", left, err)
	}
	return true
}

func TestReadOnlyRuntimeDirectoryIsReported(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	hosttest.Isolate(t)
	dir := shortDir(t)
	mount(t, "tmpfs", dir, "tmpfs", 0, "mode=0700")
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	s := newSite(t, smartvm.Options{FirecrackerPath: fake{}.install(t), RuntimeDir: dir})
	vm := s.create("", s.config())
	wantUndone(t, vm, vm.Start(patient(t)), "DIRECTORY_FAILED")
}

func TestDirectoryThatOthersControlIsRefused(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	tests := map[string]func(dir string) error{
		"of another user": func(dir string) error { return os.Chown(dir, nobody, nobody) },
		"world-writable":  func(dir string) error { return os.Chmod(dir, 0o777) },
		"group-writable":  func(dir string) error { return os.Chmod(dir, 0o770) },
		"another's link": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"-real"), os.Symlink(dir+"-real", dir), os.Lchown(dir, nobody, nobody))
		},
	}
	for name, spoil := range tests {
		for _, role := range []string{"run", "data"} {
			t.Run(name+" "+role, func(t *testing.T) {
				base := shortDir(t)
				opts := smartvm.Options{RuntimeDir: base + "/run", DataDir: base + "/data"}
				dir := filepath.Join(base, role)
				must(t, os.Mkdir(dir, 0o700))
				must(t, spoil(dir))
				_, err := smartvm.New(opts)
				if e := wantCode(t, err, "INSECURE_PATH"); e.Hint == "" || e.Subject != dir {
					t.Errorf("subject %q, hint %q", e.Subject, e.Hint)
				}
			})
		}
	}
}

func TestWhatIsInThePlaceOfTheVMsDirectoryIsLeftAlone(t *testing.T) {
	tests := map[string]func(t *testing.T, path, elsewhere string){
		"directory": func(t *testing.T, path, _ string) { t.Helper(); must(t, os.Mkdir(path, 0o700)) },
		"link":      func(t *testing.T, path, elsewhere string) { t.Helper(); must(t, os.Symlink(elsewhere, path)) },
		"dead link": func(t *testing.T, path, _ string) { t.Helper(); must(t, os.Symlink("/no/such", path)) },
		"file":      func(t *testing.T, path, _ string) { t.Helper(); write(t, path, nil) },
	}
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			s := fakeSite(t, fake{})
			elsewhere := filepath.Join(s.files, "elsewhere")
			must(t, os.Mkdir(elsewhere, 0o700))
			write(t, filepath.Join(elsewhere, "precious"), nil)
			vm := s.create("vm", s.config())
			plant(t, vm.Dir(), elsewhere)
			err := vm.Start(patient(t))
			if e := wantCode(t, err, smartvm.VMExists); hintOf(e) == "" {
				t.Errorf("no hint in %v", err)
			}
			if _, err := s.GC(patient(t), smartvm.GCOptions{}); err != nil {
				t.Errorf("collect: %v", err)
			}
			must(t, vm.Cleanup(patient(t)))
			if _, err := os.Lstat(vm.Dir()); err != nil || !exists(filepath.Join(elsewhere, "precious")) {
				t.Errorf("it is gone: %v", err)
			}
			must(t, os.Remove(vm.Dir()))
		})
	}
}

func TestOneOfManyProcessesGetsAnID(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	s := fakeSite(t, fake{})
	owners := make([]*owner, 4)
	for i := range owners {
		owners[i] = s.owner("race")
	}
	got := map[string]int{}
	for _, o := range owners {
		got[o.said()]++
	}
	if got["ready"] != 1 || got[string(smartvm.VMExists)] != len(owners)-1 {
		t.Errorf("they said %v", got)
	}
	for _, o := range owners {
		o.leave()
	}
	vm, err := s.Adopt(patient(t), "race")
	must(t, err)
	must(t, vm.Cleanup(patient(t)))
}
