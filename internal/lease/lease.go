// Package lease hands out things of which a host has a number, such as user ids, to
// one VM each. A lease is a file that has the thing's name, in a directory that all
// programs of the host share, and in it the directory of the VM that has it. The lease
// of a VM whose directory is gone is free.
package lease

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

// Lease is a thing that a VM has. It is a resource of the VM's ledger.
type Lease struct {
	What   string `json:"what"` // for people: "user id"
	Name   string `json:"name"`
	Dir    string `json:"dir"`
	Holder string `json:"holder"` // the VM's directory
}

// Kind implements ledger.Resource.
func (l *Lease) Kind() string { return "lease" }

// String implements ledger.Resource.
func (l *Lease) String() string { return l.What + " " + l.Name }

func (l *Lease) path() string { return filepath.Join(l.Dir, l.Name) }

// Release implements ledger.Resource. A lease that has another holder by now is his.
func (l *Lease) Release(context.Context) error {
	unlock, err := lock(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	holder, err := plainfile.Read(l.path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(holder) != l.Holder {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(l.path())
}

// ErrNone is the error of [Desk.Take] when somebody has each of the things.
var ErrNone = errors.New("all are in use")

// Desk gives out leases. Its methods may be called from several goroutines.
type Desk struct {
	// Dir is the directory of the leases. It is made if it is missing, and has to be
	// private to this user, which is looked at before the first lease: then nobody else
	// can change that.
	Dir string

	turn    sync.Mutex             // held by whoever takes: a goroutine waits more cheaply than its thread
	checked atomic.Pointer[string] // its path without links
}

// Take leases the first free one of names. record writes the lease down before it calls
// the effect, as ledger.Make does.
func (d *Desk) Take(what, holder string, names iter.Seq[string], record func(l *Lease, effect func() error) error) (*Lease, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	dir, unlock, err := d.open()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for name := range names {
		l := &Lease{What: what, Name: name, Dir: dir, Holder: holder}
		free, err := l.free()
		if err != nil {
			return nil, err
		}
		if free {
			return l, record(l, func() error { return plainfile.Write(l.path(), []byte(holder)) })
		}
	}
	return nil, ErrNone
}

// open locks the directory.
func (d *Desk) open() (dir string, unlock func(), err error) {
	if checked := d.checked.Load(); checked != nil {
		unlock, err = lock(*checked)
		if !errors.Is(err, fs.ErrNotExist) { // else it has been removed meanwhile
			return *checked, unlock, err
		}
	}
	private, err := privdir.Ensure(d.Dir)
	if err != nil {
		return "", nil, err
	}
	dir = private.Path()
	if unlock, err = lock(dir); err == nil {
		d.checked.Store(&dir)
	}
	return dir, unlock, errors.Join(err, private.Close())
}

// free reports whether nobody has the thing.
func (l *Lease) free() (bool, error) {
	holder, err := plainfile.Read(l.path())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || len(holder) == 0 { // somebody was killed while writing
		return err == nil, err
	}
	_, err = os.Lstat(string(holder))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return true, nil
	}
	return false, err
}

// lock excludes other processes, and other goroutines, for moments.
func lock(dir string) (unlock func(), err error) {
	f, err := plainfile.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
	}
	return func() { _ = filelock.CloseFlock(f) }, nil
}
