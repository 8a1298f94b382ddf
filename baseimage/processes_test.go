package baseimage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/proc"
)

// scene is a cache in which a killed process is at work.
type scene struct {
	cache   string
	project *project
}

// A kill at whatever point leaves nothing under a bundle's name that is not whole,
// and the next call makes everything right.
func TestNextCallRepairsWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	program := faulttest.Build(t, "testdata/user")
	for _, tt := range []struct {
		name string
		verb string
		arg  func(s *scene) string // default: the manifest
		set  func(t *testing.T, s *scene)
		min  int // kills there must be at least, so that points are not lost
	}{
		{name: "fetch", verb: "ensure", set: func(*testing.T, *scene) {}, min: 6},
		{name: "repair", verb: "ensure", min: 6, set: func(t *testing.T, s *scene) {
			t.Helper()
			fillWith(t, s)
			flip(t, filepath.Join(s.cache, "b", "rootfs.squashfs"))
			if err := os.Remove(filepath.Join(s.cache, "b", "vmlinux")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "fetch an initrd", verb: "ensure", set: withInitrd, min: 6},
		{name: "repair an initrd", verb: "ensure", min: 6, set: func(t *testing.T, s *scene) {
			t.Helper()
			withInitrd(t, s)
			fillWith(t, s)
			flip(t, filepath.Join(s.cache, "b", "initrd.img"))
			if err := os.Truncate(filepath.Join(s.cache, "b", "rootfs.squashfs"), 1); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "add an initrd", verb: "ensure", min: 6, set: func(t *testing.T, s *scene) {
			t.Helper()
			fillWith(t, s)
			withInitrd(t, s)
		}},
		{name: "drop an initrd", verb: "ensure", min: 6, set: func(t *testing.T, s *scene) {
			t.Helper()
			withInitrd(t, s)
			fillWith(t, s)
			s.project.initrd = nil
			s.project.write(t, "b", nil)
		}},
		{name: "force with an initrd", verb: "force", min: 7, set: func(t *testing.T, s *scene) {
			t.Helper()
			withInitrd(t, s)
			fillWith(t, s)
		}},
		{name: "replace", verb: "ensure", min: 6, set: func(t *testing.T, s *scene) {
			t.Helper()
			fillWith(t, s)
			s.project.kernel, s.project.rootfs = content(4000), content(200_000)
			s.project.write(t, "b", nil)
		}},
		{name: "force", verb: "force", min: 6, set: fillWith},
		{name: "remove", verb: "remove", min: 2, set: fillWith, arg: func(*scene) string { return "b" }},
		{name: "evict", verb: "prune", min: 2, set: func(t *testing.T, s *scene) {
			t.Helper()
			fillWith(t, s)
			store := open(t, baseimage.Options{CacheDir: s.cache})
			ensure(t, store, newProject(t, "other").request())
			shut(t, store)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for n := 1; ; n++ {
				s := &scene{cache: cacheDir(t), project: newProject(t, "b")}
				tt.set(t, s)
				arg := s.project.manifest
				if tt.arg != nil {
					arg = tt.arg(s)
				}
				point, killed := faulttest.Run(t, n, proc.Command{Path: program, Args: []string{tt.verb, s.cache, arg}})
				if !killed {
					break
				}
				kills++
				s.recover(t, tt.name+", killed at "+point)
			}
			if kills < tt.min {
				t.Errorf("it was killed %d times, want at least %d", kills, tt.min)
			}
		})
	}
}

func withInitrd(t *testing.T, s *scene) {
	t.Helper()
	s.project.initrd = content(2000)
	s.project.write(t, "b", nil)
}

func fillWith(t *testing.T, s *scene) {
	t.Helper()
	store := open(t, baseimage.Options{CacheDir: s.cache})
	ensure(t, store, s.project.request())
	shut(t, store)
}

func (s *scene) recover(t *testing.T, when string) {
	t.Helper()
	store := open(t, baseimage.Options{CacheDir: s.cache})
	defer shut(t, store)
	b, err := store.Ensure(t.Context(), s.project.request())
	if err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	s.project.isAll(t, b)
	if _, err := store.Prune(t.Context()); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	for _, name := range names(t, s.cache) {
		if strings.HasPrefix(name, ".new-") || strings.HasPrefix(name, ".gone-") {
			t.Errorf("%s: %s is left", when, name)
		}
	}
	if t.Failed() {
		t.Fatal(when)
	}
}

// hammerVar makes the test of several processes longer, as in SMARTVM_HAMMER=1m.
const hammerVar = "SMARTVM_HAMMER"

// Several processes ensure, prune, remove, pin and verify at random in one cache,
// the content of a bundle changes, and processes are killed. Each checks all the
// while that what it was promised stays.
func TestProcessesThatShareACacheLoseNothing(t *testing.T) {
	t.Parallel()
	period := 2 * time.Second
	if text := os.Getenv(hammerVar); text != "" {
		var err error
		if period, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	program, cache := faulttest.Build(t, "testdata/user"), cacheDir(t)
	var manifests []string
	for i := range 4 {
		manifests = append(manifests, editions(t, "shared-"+strconv.Itoa(i)))
	}
	const processes = 4
	end := time.Now().Add(period)
	ended := make(chan error, processes)
	for i := range processes {
		go func() {
			ended <- relay(t, program, cache, manifests, uint64(time.Now().UnixNano())+uint64(i), end, i == 0)
		}()
	}
	flipEditions(t, manifests, end)
	for range processes {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	// What is left is whole, and one call clears the leftovers of the killed.
	s := open(t, baseimage.Options{CacheDir: cache})
	if _, err := s.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	for _, id := range list(t, s) {
		if err := s.Verify(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	for _, name := range names(t, cache) {
		if strings.HasPrefix(name, ".new-") || strings.HasPrefix(name, ".gone-") {
			t.Errorf("%s is left", name)
		}
	}
}

// relay runs one process after the other until end, mortal ones being killed in
// the middle.
func relay(t *testing.T, program, cache string, manifests []string, seed uint64, end time.Time, mortal bool) error {
	t.Helper()
	for ; time.Until(end) > 0; seed++ {
		period := time.Until(end)
		if mortal {
			period = min(period, 150*time.Millisecond)
		}
		args := append([]string{"hammer", cache, strconv.FormatUint(seed, 10), period.String()}, manifests...)
		cmd := exec.Command(program, args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			return err
		}
		var timer *time.Timer
		if mortal {
			timer = time.AfterFunc(time.Duration(seed%101)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		err := cmd.Wait()
		if timer != nil {
			timer.Stop()
		}
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if err != nil && (!mortal || status.Signal() != syscall.SIGKILL) {
			return fmt.Errorf("%w\n%s", err, out.Bytes())
		}
		t.Logf("seed %d: %s", seed, out.Bytes())
	}
	return nil
}

// editions makes a project with two editions of a bundle, whose files end with the
// name of their edition. A has an initrd, B has none. It returns the path of the manifest, in a directory that
// is called like the bundle.
func editions(t *testing.T, id string) string {
	t.Helper()
	p := newProject(t, id)
	dir := filepath.Join(p.dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, edition := range []string{"A", "B"} {
		p.kernel, p.rootfs = append(content(10_000), edition...), append(content(100_000), edition...)
		k, r, i := filepath.Join(dir, "k"+edition), filepath.Join(dir, "r"+edition), filepath.Join(dir, "i"+edition)
		if p.initrd = nil; edition == "A" {
			p.initrd = append(content(5000), edition...)
		}
		p.write(t, id, func(m *baseimage.Manifest) {
			m.Kernel.Path, m.Rootfs.Path = k, r
			if p.initrd != nil {
				m.Initrd.Path = i
			}
		})
		err := errors.Join(os.WriteFile(k, p.kernel, 0o600), os.WriteFile(r, p.rootfs, 0o600), os.WriteFile(i, p.initrd, 0o600),
			os.Rename(p.manifest, filepath.Join(dir, "manifest"+edition)))
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest := filepath.Join(dir, "manifest.json")
	if err := os.Symlink("manifestA", manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

// flipEditions changes what the first two manifests say, in one step each, until end.
func flipEditions(t *testing.T, manifests []string, end time.Time) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; time.Until(end) > 0; n++ {
		<-ticker.C
		manifest := manifests[n%2]
		next := manifest + ".next"
		edition := []string{"manifestA", "manifestB"}[n/2%2]
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := errors.Join(os.Symlink(edition, next), os.Rename(next, manifest)); err != nil {
			t.Fatal(err)
		}
	}
}
