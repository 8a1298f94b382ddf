package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/jail"
)

// output is a file that a confined Firecracker writes for somebody else.
type output struct {
	inside string
	file   *os.File    // pinned while it is the jail's user's; nil when it never was
	was    unix.Stat_t // before that
}

// bringOutput lets a file into the VM's jail that Firecracker is to write. It is made
// if there is none. Where its owner can't be mapped, it belongs to the jail's user until
// it is taken back.
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
	var err error
	o.inside, err = v.bring(ctx, role, path, jail.Read|jail.Write)
	if !errors.Is(err, jail.ErrKeptOut) {
		return o, err
	}
	if o.file, err = os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if err = unix.Fstat(int(o.file.Fd()), &o.was); err == nil {
		o.inside, err = v.bring(ctx, role, path, jail.Read|jail.Write|jail.Ours)
	}
	if err != nil {
		return nil, errors.Join(err, o.takeBack())
	}
	return o, nil
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
