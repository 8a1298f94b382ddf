package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/privdir"
)

// note is the file that tells the user about the pool.
type note struct {
	Path string `json:"path"`
}

// Kind implements ledger.Resource.
func (n *note) Kind() string { return "note" }

// String implements ledger.Resource.
func (n *note) String() string { return "file " + n.Path }

// Release implements ledger.Resource.
func (n *note) Release(context.Context) error {
	for _, path := range []string{noteTemporary(n.Path), n.Path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeNote makes the file appear with all of the pool in it.
func (w *work) writeNote() error {
	n := &note{Path: w.site.note(w.pool.User)}
	write := func() error { return failed(errcode.DirectoryFailed, "write", n.Path, n.write(w.pool)) }
	if w.recorded(n.Kind()) {
		return write()
	}
	return w.ledger.Make(n, write)
}

func (n *note) write(p *Pool) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	tmp := noteTemporary(n.Path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	fault.Point("note: made")
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	fault.Point("note: written")
	return os.Rename(tmp, n.Path)
}

// maxNote bounds what is read of a file, in bytes: a thousand TAPs and a long policy fit.
const maxNote = 8 << 20

// Open returns the pool of a user. He need not be the one that this process is, and
// needs no rights.
//
// Errors: NOT_PERMITTED if there is none, or one of before the host's start; the hint
// has the command that makes one. INSECURE_PATH if what is there could be by somebody
// else than root.
func Open(opts Options, u User) (*Pool, error) {
	opts = opts.withDefaults()
	p, err := opts.read(u)
	missing := func(cause string) error {
		return &errcode.Error{Code: errcode.NotPermitted, Op: "find pool", Subject: u.Name, Err: errors.New(cause), Hint: "let an administrator run: " + u.Command()}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing("networks need root, or TAP devices that root has made for this user, and there are none")
	case err != nil:
		return nil, failed(errcode.DirectoryFailed, "find pool", u.Name, err)
	case !p.here():
		return nil, missing("the host has started since the user's TAP devices were made")
	}
	return p, nil
}

// read returns what the file of a pool says, if root has written it.
func (o *Options) read(u User) (*Pool, error) {
	dir, err := privdir.OpenOwned(o.Dir, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	path := o.note(u)
	f, err := dir.Root().OpenFile(filepath.Base(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkOwner(f); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return nil, err
	}
	p := new(Pool)
	if err = json.Unmarshal(data, p); err == nil {
		err = p.check(u.UID)
	}
	if err != nil {
		return nil, &errcode.Error{Code: errcode.LedgerFailed, Op: "read", Subject: path, Err: err, Hint: "make it anew: " + u.Command()}
	}
	return p, nil
}

// checkOwner refuses what is no file of root's, or what others may write.
func checkOwner(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Uid == 0 && st.Mode&(unix.S_IWGRP|unix.S_IWOTH) == 0 {
		return nil
	}
	return &errcode.Error{
		Code: errcode.InsecurePath, Op: "read", Subject: f.Name(),
		Err:  fmt.Errorf("it is not a file that only root can have written: owner uid %d, mode %06o", st.Uid, st.Mode),
		Hint: "let an administrator look at it, and remove it",
	}
}
