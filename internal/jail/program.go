package jail

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is a copy of Firecracker for jails that may share its pages: a VM that had the
// host's own could tell from the processor's caches what others execute.
type Program struct {
	bare  *Bare
	what  original
	name  string // in the root of bare
	users int    // whoever has got it and not given it back
}

// original is what there is a copy of, and for whom.
type original struct {
	path, sharers string
	dev, ino      uint64
	size, changed int64
}

// Program returns a copy of a program, which has to be given back. All calls in a row that
// name the same program and the same sharers get the same copy.
func (b *Bare) Program(path, sharers string) (*Program, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	what := original{path, sharers, st.Dev, st.Ino, st.Size, st.Ctim.Nano()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil || b.last.what != what {
		p, err := b.copy(what)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", path, err)
		}
		if err := b.replace(p); err != nil {
			return nil, err
		}
	}
	b.last.users++
	return b.last, nil
}

// replace keeps another program for the next user.
func (b *Bare) replace(next *Program) error {
	last := b.last
	b.last = next
	if last == nil {
		return nil
	}
	return last.drop()
}

// copy makes a copy.
func (b *Bare) copy(what original) (p *Program, err error) {
	if err := b.make(); err != nil {
		return nil, err
	}
	in, err := os.Open(what.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p = &Program{bare: b, what: what, name: rand.Text()}
	// A process that is forked now has what we write to open, and as long as it has, the
	// program can't be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Openat(int(b.root.Fd()), p.name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	out := os.NewFile(uintptr(fd), p.name)
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o555), out.Close()); err != nil { // all users of jails execute it
		return nil, errors.Join(err, p.drop())
	}
	return p, nil
}

// path is where it is in a copy of its namespace.
func (p *Program) path() string { return "/" + p.name }

// Name is what the program's file is called where it was copied from.
func (p *Program) Name() string { return filepath.Base(p.what.path) }

// Return gives it back. Whoever executes it by then keeps it.
func (p *Program) Return() error {
	p.bare.mu.Lock()
	defer p.bare.mu.Unlock()
	p.users--
	return p.drop()
}

// drop removes it, unless somebody has it or it is kept for the next user.
func (p *Program) drop() error {
	if p.bare.last == p || p.users > 0 {
		return nil
	}
	return os.NewSyscallError("unlinkat", unix.Unlinkat(int(p.bare.root.Fd()), p.name, 0))
}
