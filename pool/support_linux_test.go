package pool_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/pool"
)

// alice and bob are users that no host has.
var (
	alice = pool.User{UID: 1_777_000_001, Name: "alice"}
	bob   = pool.User{UID: 1_777_000_002, Name: "bob"}
)

// Servers of the world.
const (
	allowed = "203.0.113.9"
	denied  = "203.0.113.10"
)

// scene is a host with devices of its own. In the end it has to be what it was.
type scene struct {
	pool.Options

	host   *nettest.Namespace
	world  *nettest.Namespace
	before nettest.Snapshot
	files  []string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{host: nettest.Host(t)}
	s.Options = pool.Options{
		Dir: filepath.Join(dir, "pools"), SharedMemory: filepath.Join(dir, "shm"),
		Devices: []string{filepath.Join(dir, "dev", "kvm"), filepath.Join(dir, "dev", "tun")},
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) { // for users
		must(t, os.Chmod(up, 0o711))
	}
	must(t, os.Mkdir(s.SharedMemory, 0o700), os.Chmod(s.SharedMemory, 0o777|fs.ModeSticky), os.Mkdir(filepath.Join(dir, "dev"), 0o755))
	must(t, unix.Mknod(s.Devices[0], unix.S_IFCHR|0o600, int(unix.Mkdev(10, 232))), os.Chmod(s.Devices[0], 0o600))
	must(t, unix.Mknod(s.Devices[1], unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))), os.Chmod(s.Devices[1], 0o666))
	s.world = s.host.Uplink(t, "up0", "198.51.100.1/24", allowed+"/32", denied+"/32")
	s.before = s.host.Snapshot(t)
	s.files = s.tree(t)
	return s
}

// tree lists what can be left of a pool, with its mode.
func (s *scene) tree(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(s.Dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			all = append(all, info.Mode().String()+" "+path)
		}
		return err
	})
	must(t, err)
	return all
}

// clean fails the test if anything is left.
func (s *scene) clean(t *testing.T) {
	t.Helper()
	s.host.Same(t, s.before)
	if left := s.tree(t); !slices.Equal(left, s.files) {
		t.Errorf("left: %q\nbefore: %q", left, s.files)
	}
}

func (s *scene) setUp(t *testing.T, r pool.Request) *pool.Pool {
	t.Helper()
	p, err := pool.SetUp(t.Context(), s.Options, r)
	must(t, err)
	return p
}

func (s *scene) remove(t *testing.T, u pool.User) []string {
	t.Helper()
	removed, err := pool.Remove(t.Context(), s.Options, u, false)
	must(t, err)
	return removed
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want errcode.Code) *errcode.Error {
	t.Helper()
	e, _ := errors.AsType[*errcode.Error](err)
	if e == nil || e.Code != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return e
}
