package smartvm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
)

// crashScene is what a controller works with.
type crashScene struct {
	program              string
	runtime, data        string
	kernel, drive, vsock string
	firecracker          string
	more                 []string // further arguments of the program
}

func newCrashScene(t *testing.T) *crashScene {
	t.Helper()
	firecracker := hosttest.Boot(t)
	dir := t.TempDir()
	runtime, err := os.MkdirTemp("/dev/shm", "smartvm-crash-") //nolint:usetesting // it has to be a tmpfs, and short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(runtime); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(runtime, "r"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &crashScene{
		program: faulttest.Build(t, "testdata/controller"), runtime: filepath.Join(runtime, "r"), data: filepath.Join(dir, "data"),
		drive: filepath.Join(dir, "disk"), vsock: filepath.Join(runtime, "v.sock"),
		firecracker: firecracker,
	}
	if err := os.WriteFile(s.drive, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cacheKernel(t)
	return s
}

// cacheKernel takes the kernel out of the cache of base images, so that the VM
// pins a bundle.
func (s *crashScene) cacheKernel(t *testing.T) {
	t.Helper()
	m, err := smartvm.New(smartvm.Options{RuntimeDir: s.runtime, DataDir: s.data, FirecrackerPath: s.firecracker, Jail: smartvm.JailOptions{LeaseDir: usersIn(s.data)}})
	if err != nil {
		t.Fatal(err)
	}
	s.kernel = bundle(t, m, "hello", "v1.0.0", hello.Stay).Kernel.Path
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// run lets the controller go as far as its nth point, and reports whether it
// was killed there and which point that was.
func (s *crashScene) run(t *testing.T, grace string, n int) (point string, killed bool) {
	t.Helper()
	return faulttest.Run(t, n, s.command(grace))
}

func (s *crashScene) command(grace string) proc.Command {
	return proc.Command{
		Path: s.program, Args: append([]string{s.runtime, s.data, s.kernel, s.drive, s.vsock, grace}, s.more...),
		Env: []string{"SMARTVM_FIRECRACKER=" + s.firecracker, "SMARTVM_TEST_JAIL=" + os.Getenv("SMARTVM_TEST_JAIL")},
	}
}

// recover does what the next process does: adopt what runs, collect the rest. A
// VM that was asked to stop before the kill may end at any moment.
func (s *crashScene) recover(t *testing.T, stopping bool) (adopted bool) {
	t.Helper()
	m, err := smartvm.New(smartvm.Options{RuntimeDir: s.runtime, DataDir: s.data, FirecrackerPath: s.firecracker, Jail: smartvm.JailOptions{LeaseDir: usersIn(s.data)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := m.GC(t.Context(), smartvm.GCOptions{}); err != nil {
		t.Fatalf("gc: %v", err)
	}
	entries, err := m.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.State != smartvm.Running && !stopping {
			t.Errorf("gc left %+v", e)
		}
		vm, err := m.Adopt(t.Context(), e.ID)
		if err != nil {
			t.Fatalf("adopt: %v", err)
		}
		if !stopping {
			adopted = true
			if err := errors.Join(vm.Pause(t.Context()), vm.Resume(t.Context()), vm.Stop(t.Context(), smartvm.StopOptions{})); err != nil {
				t.Errorf("adopted VM: %v", err)
			}
		}
		if err := vm.Cleanup(t.Context()); err != nil {
			t.Errorf("adopted VM: %v", err)
		}
	}
	return adopted
}

// left lists what is still there.
func (s *crashScene) left(t *testing.T) []string {
	t.Helper()
	var left []string
	networks := filepath.Join(s.runtime, ".networks") // it stays, and in it the owner's id and the lock
	dirs := []string{s.runtime, networks, filepath.Join(networks, ".holders"), filepath.Join(s.data, "staging"), usersIn(s.data), filepath.Join(filepath.Dir(s.kernel), "uses")}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains([]string{".networks", ".holders", ".owner", ".lock"}, e.Name()) {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
	}
	if _, err := os.Lstat(s.vsock); err == nil {
		left = append(left, s.vsock)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		line, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(line, []byte(s.runtime)) || s.has(filepath.Dir(path))) {
			left = append(left, fmt.Sprintf("%s %q", path, line))
		}
	}
	return left
}

// jailPoints are those that only a jailed VM passes.
func jailPoints() []string {
	if os.Geteuid() != 0 || unjailed("") {
		return nil
	}
	return []string{"make lease: recorded", "make lease: made", "release lease: gone", "make socket: made", "release socket: still there"}
}

// has reports whether the process of a directory of /proc has a file of the VM's open: one
// in a jail has no path of the host on its command line.
func (s *crashScene) has(process string) bool {
	for fd := range 3 {
		path, err := os.Readlink(filepath.Join(process, "fd", strconv.Itoa(fd)))
		if err == nil && strings.HasPrefix(path, s.runtime+"/") {
			return true
		}
	}
	return false
}

// TestControllerCanBeKilledAtEveryPoint kills a controller before and after
// every write to its ledger and every effect of a start, a stop and a clean-up.
func TestControllerCanBeKilledAtEveryPoint(t *testing.T) {
	s := newCrashScene(t)
	hosttest.Residue(t, filepath.Dir(s.runtime))
	for _, grace := range []string{"10s", "-1s", "none"} {
		adopted, killed := 0, map[string]int{}
		for n := 1; ; n++ {
			point, dead := s.run(t, grace, n)
			if !dead {
				break
			}
			killed[point]++
			if s.recover(t, strings.HasPrefix(point, "stop: ")) {
				adopted++
			}
			if left := s.left(t); len(left) > 0 {
				t.Fatalf("killed at point %d (%s): left %s", n, point, strings.Join(left, "\n"))
			}
		}
		// What a start must pass, whatever else changes: if these are not among
		// them, the loop has tested nothing.
		for _, point := range append(jailPoints(), "create: named", "make process: made", "mark started", "release process: gone", "destroy: renamed") {
			if killed[point] == 0 {
				t.Errorf("grace %s: was never killed at %q; points: %v", grace, point, killed)
			}
		}
		if adopted == 0 {
			t.Errorf("grace %s: no VM was ever adopted", grace)
		}
		t.Logf("grace %s: killed at %d different points, %d times adopted", grace, len(killed), adopted)
	}
}
