package hosttest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// residueVar marks the processes that a test starts, so that they are known
	// even after their parent's death.
	residueVar = "SMARTVM_TEST_RESIDUE"
	// settling is how long what ends asynchronously may take to be gone.
	settling = 2 * time.Second
	pace     = 5 * time.Millisecond
)

// Residue fails the test if it leaves something behind that was not there when
// Residue was called: processes, open file descriptors, goroutines, mounts,
// network links, or files below dirs. It looks after the test's own clean-up
// functions, so it has to be called before they are registered, and it gives
// what ends asynchronously a moment to be gone.
//
// Counted are processes that descend from the test, inherited its environment
// or name one of dirs on their command line; mounts below dirs; and every mount
// and link once the test is in namespaces of its own, see [Isolate]. In the
// host's namespaces the others can't be told from those of other programs.
//
// The test and its parents must not be parallel: another test's work would count.
func Residue(tb testing.TB, dirs ...string) {
	tb.Helper()
	residue(tb, settling, dirs)
}

func residue(tb testing.TB, patience time.Duration, dirs []string) {
	tb.Helper()
	mark := fmt.Sprintf("%d/%s", os.Getpid(), tb.Name())
	tb.Setenv(residueVar, mark) // also panics in a parallel test
	if err := startPoller(); err != nil {
		tb.Fatal(err)
	}
	clean := make([]string, len(dirs))
	for i, dir := range dirs {
		clean[i] = filepath.Clean(dir)
	}
	scene := scene{residueVar + "=" + mark, clean}
	before, err := scene.look()
	if err != nil {
		tb.Fatal("look at the host: ", err)
	}
	tb.Cleanup(func() {
		if left := settle(scene, before, patience); len(left) > 0 {
			tb.Errorf("the test left behind:\n  %s", strings.Join(left, "\n  "))
		}
	})
}

// scene is where residue is looked for.
type scene struct {
	mark string   // in the environment of the test's processes
	dirs []string // folders of the test
}

// look returns what is there: a description for people by an identity that is
// never given twice while the first holder is there.
func (s scene) look() (map[string]string, error) {
	seen := map[string]string{}
	for _, kind := range []func(scene, map[string]string) error{processes, descriptors, goroutines, mounts, links, files} {
		if err := kind(s, seen); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// settle returns what is there beyond before, as soon as that is nothing or
// patience has run out.
func settle(s scene, before map[string]string, patience time.Duration) []string {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		now, err := s.look()
		if err != nil {
			return []string{err.Error()}
		}
		var left []string
		for id, text := range now {
			if _, known := before[id]; !known {
				left = append(left, text)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			slices.Sort(left)
			return left
		}
	}
}

// startPoller makes the runtime open the descriptors of its poller, which it
// does at the first use of a pipe or socket and never closes.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	return w.Close()
}

func files(s scene, seen map[string]string) error {
	for _, dir := range s.dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) { // gone since its folder was read, or dir never was
				return nil
			}
			if err == nil {
				seen["file "+path] = fmt.Sprintf("file %s (%s)", path, entry.Type())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// below reports whether path is one of dirs or inside one.
func below(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}
