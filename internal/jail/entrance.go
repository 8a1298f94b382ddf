package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/stage"
)

// Entrance lets files into a jail. It is for one call of [Entrance.Isolate],
// [Entrance.Enclose] or [Entrance.Join], and not for several goroutines.
type Entrance struct {
	// Network is the network namespace that Isolate and Enclose move into, or else Void;
	// nil for both means to stay.
	Network *os.File
	Void    *Void

	jail  *Jail
	root  *os.Root
	dir   *os.File // the root once more
	tree  *os.File // a mount of it, with program for [Entrance.Enclose]; nil without
	space *stage.Space
	binds []bind
	users map[owner]*os.File // user namespaces that were needed

	program *Program
}

// bind is a file that is to get another name in the jail.
type bind struct {
	inside string // relative to the root
	tree   *os.File
}

// Enter opens the entrance. What has to be copied asks space for room.
func (j *Jail) Enter(space *stage.Space) (*Entrance, error) {
	root, err := os.OpenRoot(j.Root)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Entrance{jail: j, root: root, dir: dir, space: space}, nil
}

// Close drops what has not entered.
func (e *Entrance) Close() error {
	errs := []error{e.root.Close(), e.dir.Close()}
	if e.tree != nil {
		errs = append(errs, e.tree.Close())
	}
	for _, b := range e.binds {
		errs = append(errs, b.tree.Close())
	}
	for _, u := range e.users {
		errs = append(errs, u.Close())
	}
	return errors.Join(errs...)
}

// Bring prepares a file for the jail. Its owner and its mode stay as they are, unless
// it is Ours: where they keep the jail's user out, the bind mount maps the file's
// owner to him, and where the file system can't do that, a file that is only read is
// copied, and one that is Fresh is given to him. Another one that is written is refused.
func (e *Entrance) Bring(ctx context.Context, f File) error {
	access, inside := f.Access, f.Inside
	tree, err := cloneTree(f.Host)
	if err != nil {
		return err
	}
	defer func() {
		if tree != nil {
			_ = tree.Close()
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Host, Err: err}
	}
	if dir := filepath.Dir(inside); dir != "." {
		if err := e.makeDir(dir); err != nil {
			return err
		}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return e.node(inside, &st, access)
	}
	if access&Ours != 0 {
		if err := e.give(tree, &st); err != nil {
			return err
		}
	}
	err = e.admit(tree, &st, access)
	if errors.Is(err, ErrKeptOut) && access&Fresh != 0 && isFresh(&st) {
		if err = e.give(tree, &st); err == nil {
			err = e.admit(tree, &st, access)
		}
	}
	if errors.Is(err, ErrKeptOut) && access&Write == 0 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		return e.copy(ctx, inside, f.Host)
	}
	if err == nil {
		err = e.placeholder(inside)
	}
	if err == nil {
		e.binds, tree = append(e.binds, bind{inside, tree}), nil
	}
	return err
}

// MakeSockets makes the directory in which Firecracker makes a socket that is [Beside]
// others. It is the jail's user's until the jail is sealed.
func (e *Entrance) MakeSockets() error {
	if err := e.root.Mkdir(socketsName, 0o700); err != nil {
		return err
	}
	return e.root.Lchown(socketsName, e.jail.UID, e.jail.GID)
}

// makeDir makes a directory that the jail's user can look into.
func (e *Entrance) makeDir(name string) error {
	err := e.root.Mkdir(name, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// give makes a file of ours the user's.
func (e *Entrance) give(file *os.File, st *unix.Stat_t) error {
	if int(st.Uid) == e.jail.UID && int(st.Gid) == e.jail.GID {
		return nil
	}
	if err := unix.Fchownat(int(file.Fd()), "", e.jail.UID, e.jail.GID, unix.AT_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "chown", Path: file.Name(), Err: err}
	}
	st.Uid, st.Gid = uint32(e.jail.UID), uint32(e.jail.GID)
	return nil
}

// isFresh reports whether nobody can miss the file. It is in a directory of the caller's,
// who may share it: by now, the name may lead to a file that is precious to root.
func isFresh(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0 && st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}

// ErrKeptOut is matched by errors about a file that the jail's user may not use.
var ErrKeptOut = errors.New("the jail's user is kept out")

// admit has a mount of a file, which is attached nowhere yet, give the jail's user what he
// needs and no more.
func (e *Entrance) admit(tree *os.File, st *unix.Stat_t, access Access) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if access&Write == 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := setAttributes(tree, &attr); err != nil || e.jail.allowed(st, access) {
		return err
	}
	return e.mapOwner(tree, st)
}

// allowed reports whether the mode of a file lets the jail's user do what he shall.
func (j *Jail) allowed(st *unix.Stat_t, access Access) bool {
	bits := st.Mode & 7
	switch {
	case int(st.Uid) == j.UID:
		bits = st.Mode >> 6 & 7
	case int(st.Gid) == j.GID:
		bits = st.Mode >> 3 & 7
	}
	var want uint32
	if access&Read != 0 {
		want |= 4
	}
	if access&Write != 0 {
		want |= 2
	}
	return bits&want == want
}

// mapOwner makes the owner of a file look like the jail's user, in this mount alone.
func (e *Entrance) mapOwner(tree *os.File, st *unix.Stat_t) error {
	user, err := e.userNamespace(owner{st.Uid, st.Gid})
	if err != nil {
		return err
	}
	err = setAttributes(tree, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Fd())})
	if err != nil {
		return fmt.Errorf("%w: user %d has no access to %s (mode %04o, owner %d), and its file system can't map owners (%w)",
			ErrKeptOut, e.jail.UID, tree.Name(), st.Mode&0o7777, st.Uid, err)
	}
	return nil
}

// placeholder makes the empty file that a mount covers, unless it is there. Its
// directory is looked for in the root: what runs in a jail may have put a link in its
// place.
func (e *Entrance) placeholder(inside string) error {
	dir := e.dir
	if parent := filepath.Dir(inside); parent != "." {
		var err error
		if dir, err = e.root.Open(parent); err != nil {
			return err
		}
		defer dir.Close()
	}
	err := unix.Mknodat(int(dir.Fd()), filepath.Base(inside), unix.S_IFREG|0o600, 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mknod", Path: e.jail.Path(inside), Err: err}
	}
	return nil
}

// node makes a device node of the jail's own: those of the host keep its user out. He
// reads, and perhaps writes, as its group. Its owner could give himself the rest.
func (e *Entrance) node(inside string, st *unix.Stat_t, access Access) error {
	mode := os.FileMode(0o040)
	if access&Write != 0 {
		mode = 0o060
	}
	dir, name, err := e.vacate(inside)
	if err != nil {
		return err
	}
	defer dir.Close()
	at, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer at.Close()
	if err := unix.Mknodat(int(at.Fd()), name, unix.S_IFBLK, int(st.Rdev)); err != nil {
		return &os.PathError{Op: "mknod", Path: e.jail.Path(inside), Err: err}
	}
	return errors.Join(dir.Lchown(name, 0, e.jail.GID), dir.Chmod(name, mode)) // which no umask takes from
}

// vacate returns the directory of a name in the jail, in which nothing has the name any
// more. All that follows is done in that directory, without a path: the jail's user may
// have put a link in its place, or does so at any moment. To remove what a mount covers
// removes the mount from the namespace that it is in.
func (e *Entrance) vacate(inside string) (dir *os.Root, name string, err error) {
	parent, name := filepath.Split(inside)
	if dir, err = e.root.OpenRoot(filepath.Join(".", parent)); err != nil {
		return nil, "", err
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", errors.Join(err, dir.Close())
	}
	return dir, name, nil
}

// copy makes a copy that belongs to the jail's user and may be read by him.
func (e *Entrance) copy(ctx context.Context, inside, host string) error {
	dir, name, err := e.vacate(inside)
	if err != nil {
		return err
	}
	defer dir.Close()
	place, err := e.space.Choose(host, []*os.Root{dir})
	if err != nil {
		return err
	}
	defer place.Release()
	if _, err := place.Copy(ctx, name); err != nil {
		return err
	}
	return errors.Join(dir.Chmod(name, 0o400), dir.Lchown(name, e.jail.UID, e.jail.GID))
}

// cloneMount makes a mount with these attributes of what a path leads to, which is attached
// nowhere yet.
func cloneMount(path string, attr *unix.MountAttr) (*os.File, error) {
	tree, err := cloneTree(path)
	if err != nil {
		return nil, err
	}
	if err := setAttributes(tree, attr); err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return tree, nil
}

// cloneTree is cloneMount with the attributes of the mount that it is made of.
func cloneTree(path string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func setAttributes(tree *os.File, attr *unix.MountAttr) error {
	return os.NewSyscallError("mount_setattr", unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH, attr))
}
