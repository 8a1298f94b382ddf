package pool

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

// DefaultDir is where a host's pools are.
const DefaultDir = "/run/smartvm-pools"

// Options say where pools and devices are. The zero value is right for a host; tests
// have their own.
type Options struct {
	// Dir has a file for each pool. Default [DefaultDir]. Whoever else may write above it
	// could replace it.
	Dir string
	// Devices are what a user of VMs has to open. Default /dev/kvm and /dev/net/tun.
	Devices []string
	// SharedMemory is a directory in which everybody may make files, for the users' leases.
	// Default /dev/shm if it is a tmpfs, else /tmp.
	SharedMemory string
	// Logger is told what no return value can tell. Default: nothing is logged.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	out := *o
	out.Dir = cmp.Or(out.Dir, DefaultDir)
	if out.Devices == nil {
		out.Devices = []string{"/dev/kvm", "/dev/net/tun"}
	}
	if out.SharedMemory == "" {
		out.SharedMemory = "/dev/shm"
		if !privdir.IsTmpfs(out.SharedMemory) {
			out.SharedMemory = "/tmp"
		}
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Names in the directory.
const (
	stateName  = "state"
	lockName   = ".lock"
	noteSuffix = ".json"
)

func (o *Options) state() string      { return filepath.Join(o.Dir, stateName) }
func (o *Options) note(u User) string { return filepath.Join(o.Dir, u.key()+noteSuffix) }
func noteTemporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
}

func (o *Options) exists() (bool, error) {
	_, err := os.Lstat(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// site is the directory while this process alone may change what is in it.
type site struct {
	Options

	lock *os.File
}

// errNotRoot is why users can't make pools.
var errNotRoot = errors.New("only root may")

// enter makes the directory, if it is not there, and waits for its lock.
func enter(ctx context.Context, opts Options) (*site, error) {
	if os.Geteuid() != 0 {
		return nil, &errcode.Error{Code: errcode.NotPermitted, Op: "lock", Subject: opts.Dir, Err: errNotRoot, Hint: "run it by sudo, or as root"}
	}
	s := &site{Options: opts}
	for {
		if err := s.makeDirs(); err != nil {
			return nil, err
		}
		held, err := s.tryLock(ctx)
		if err != nil {
			return nil, failed(errcode.DirectoryFailed, "lock", s.Dir, err)
		}
		if held {
			return s, nil
		}
	}
}

// makeDirs makes what everybody may read and what only root may.
func (s *site) makeDirs() error {
	err := os.Mkdir(s.Dir, 0o755) //nolint:gosec // users look for their pools in it
	if err == nil {
		err = os.Chmod(s.Dir, 0o755) //nolint:gosec // as above, whatever the umask is
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return failed(errcode.DirectoryFailed, "make directory", s.Dir, err)
	}
	fault.Point("pools: directory")
	private, err := privdir.Ensure(s.state())
	if err != nil {
		return err
	}
	return private.Close()
}

// tryLock waits for the lock. It reports false if whoever had it has removed the
// directory with the last pool, so that the lock excludes nobody.
func (s *site) tryLock(ctx context.Context) (held bool, err error) {
	path := filepath.Join(s.state(), lockName)
	f, err := plainfile.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := filelock.Wait(ctx, f, filelock.Range{}, filelock.Exclusive); err != nil {
		if ctx.Err() != nil {
			err = failed(errcode.Cancelled, "wait for lock", path, err)
		}
		return false, errors.Join(err, f.Close())
	}
	mine, err := f.Stat()
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	named, err := os.Lstat(path)
	if err != nil || !os.SameFile(mine, named) {
		return false, f.Close()
	}
	s.lock = f
	return true, nil
}

func (s *site) leave() { _ = filelock.Close(s.lock) }

// sweep removes what processes that were killed have left: nobody else works here.
func (s *site) sweep(ctx context.Context) error {
	_, err := ledger.Sweep(s.state())
	_, gcErr := hostnet.GC(ctx, s.state(), false)
	return errors.Join(err, gcErr)
}

// prune removes the directory if there is no pool. Whoever waits for its lock makes
// it anew.
func (s *site) prune(ctx context.Context) error {
	names, err := ledger.Names(s.state())
	if err != nil || len(names) > 0 {
		return err
	}
	if networks, err := hostnet.List(ctx, s.state()); err != nil || len(networks) > 0 {
		return err
	}
	if err := os.RemoveAll(s.state()); err != nil {
		return failed(errcode.DirectoryFailed, "remove", s.state(), err)
	}
	fault.Point("pools: state gone")
	err = os.Remove(s.Dir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) { // of somebody else, and not ours to remove
		return nil
	}
	return failed(errcode.DirectoryFailed, "remove", s.Dir, err)
}
