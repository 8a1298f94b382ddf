package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/proc"
)

// output is a file that a confined Firecracker writes for somebody else.
type output struct {
	inside string
	file   *os.File    // pinned while it is the jail's user's; nil when it never was
	was    unix.Stat_t // before that
}

// bringOutput lets a file into the VM's jail that Firecracker is to write, until it is
// withdrawn. It is made if there is none. Where its owner can't be mapped, it belongs to
// the jail's user meanwhile.
func (v *VM) bringOutput(ctx context.Context, role, path string) (*output, error) {
	v.mu.Lock()
	jailed := v.files.Jail != nil
	v.mu.Unlock()
	if jailed && path != "" {
		if _, err := touch(path); err != nil {
			return nil, err
		}
	}
	o := &output{}
	f, err := v.letIn(ctx, role, path, jail.Read|jail.Write)
	if errors.Is(err, jail.ErrKeptOut) {
		f, err = v.giveOutput(ctx, o, role, path)
	}
	o.inside = f.Inside
	return o, err
}

// giveOutput lets a file in by giving it to the jail's user.
func (v *VM) giveOutput(ctx context.Context, o *output, role, path string) (f jail.File, err error) {
	if o.file, err = os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return f, err
	}
	if err = unix.Fstat(int(o.file.Fd()), &o.was); err == nil {
		f, err = v.letIn(ctx, role, path, jail.Read|jail.Write|jail.Ours)
	}
	if err != nil {
		return f, errors.Join(err, o.takeBack())
	}
	return f, nil
}

// withdraw ends what Firecracker can do to files that it has written: a Firecracker in the
// hands of its guest could change a snapshot that others are restored from, and its jail
// would keep the room of one that is removed.
func (v *VM) withdraw(outputs ...*output) error {
	v.mu.Lock()
	jailed, process := v.files.Jail != nil, v.process
	v.mu.Unlock()
	var errs []error
	if jailed && process != nil {
		var inside []string
		for _, o := range outputs {
			inside = append(inside, o.inside)
		}
		err := proc.OnThread(func() error {
			return process.Control(func(pidfd int) error { return jail.Withdraw(pidfd, inside) })
		})
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) { // else all is gone with the process
			errs = append(errs, err)
		}
	}
	for _, o := range outputs {
		errs = append(errs, o.takeBack())
	}
	return errors.Join(errs...)
}

// takeBack gives the file to whom it belonged, as it was: its owner of the meantime may
// have let others write it.
func (o *output) takeBack() error {
	if o.file == nil {
		return nil
	}
	err := unix.Fchownat(int(o.file.Fd()), "", int(o.was.Uid), int(o.was.Gid), unix.AT_EMPTY_PATH)
	if err != nil {
		err = &os.PathError{Op: "chown", Path: o.file.Name(), Err: err}
	}
	mode := fs.FileMode(o.was.Mode) & fs.ModePerm
	return errors.Join(err, os.Chmod(fmt.Sprintf("/proc/self/fd/%d", o.file.Fd()), mode), o.file.Close())
}
