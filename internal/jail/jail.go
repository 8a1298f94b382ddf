// Package jail confines a VM's Firecracker: it runs as a user of its own, and sees
// nothing but a directory. Firecracker's own jailer brings it there, or [Entrance.Enclose]
// where that would take too long. The package knows where
// each file of a VM is, on the host and as its Firecracker sees it, and is the only
// place that translates between the two. Without a jail both are the same path, but for what
// a snapshot will name.
//
// Files get into a jail by bind mounts in a mount namespace of the VM's own, which
// ends with its last process. The host never sees these mounts, so there is nothing
// to unmount and nothing to leak; and since they are other names of files that lie
// elsewhere, what is in the jail can't put links in their place.
package jail

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Jail is the place that one Firecracker is confined to.
type Jail struct {
	// Root is the directory that is / inside, on the host. See New for what the jailer wants.
	Root string `json:"root"`
	// UID and GID are whom Firecracker runs as.
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// New returns the jail below base of a program, which the jailer copies into it, and
// a VM. The jailer wants it to be BASE/PROGRAM/ID/root. It makes nothing; see [Jail.Make].
func New(base, program, id string, uid int) *Jail {
	return &Jail{Root: filepath.Join(base, filepath.Base(program), id, "root"), UID: uid, GID: uid}
}

// Path is where a path inside is on the host.
func (j *Jail) Path(inside string) string { return filepath.Join(j.Root, inside) }

// Make makes the jail's directory, and those of New above it. It fails when there is one: a
// jail is used once, since the jailer refuses to find its own traces.
func (j *Jail) Make() error {
	err := os.Mkdir(j.Root, 0o700)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	home := filepath.Dir(j.Root)
	for _, dir := range []string{filepath.Dir(filepath.Dir(home)), filepath.Dir(home), home} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return os.Mkdir(j.Root, 0o700)
}

// Seal takes the jail's directories from its user, who then can neither make files in
// them nor replace what is there. It is for the time when the program has made its
// sockets; what it has open, and the files that are its own, it keeps.
func (j *Jail) Seal() error {
	root, err := unix.Open(j.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: j.Root, Err: err}
	}
	defer func() { _ = unix.Close(root) }()
	// The root first: from then on nobody moves the others.
	for _, dir := range []string{".", socketsName, "dev", "dev/net", "run"} {
		if err := seal(root, dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &os.PathError{Op: "seal", Path: j.Path(dir), Err: err}
		}
	}
	return nil
}

// seal makes a directory root's, unless the jail's user has put something else there. He
// may be at work in it: at no moment is he kept out, and what he makes of the mode while it
// is still his does not last.
func seal(root int, dir string) error {
	fd, err := unix.Openat2(root, dir, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	const mode = 0o755
	return errors.Join(unix.Fchmod(fd, mode), unix.Fchown(fd, 0, 0), unix.Fchmod(fd, mode), unix.Close(fd))
}

// Args returns the jailer's command line for a program with arguments of its own.
// The jailer adds --id to these. It is the process that becomes the program, with the
// same pid, standard input, output and error.
func (j *Jail) Args(program, id string, limits Limits, args []string) []string {
	base := filepath.Dir(filepath.Dir(filepath.Dir(j.Root)))
	jailer := []string{
		"--id", id, "--exec-file", program, "--uid", strconv.Itoa(j.UID), "--gid", strconv.Itoa(j.GID), "--chroot-base-dir", base,
	}
	if limits.NetNS != "" {
		jailer = append(jailer, "--netns", limits.NetNS)
	}
	if limits.Files > 0 {
		jailer = append(jailer, "--resource-limit", "no-file="+strconv.Itoa(limits.Files))
	}
	if limits.FileSize > 0 {
		jailer = append(jailer, "--resource-limit", "fsize="+strconv.FormatInt(limits.FileSize, 10))
	}
	return append(append(jailer, "--"), args...)
}

// CheckPeer reports whether the other end of a connected Unix socket is a process of
// the jail's user: a name in the jail may have become a link to the socket of
// somebody else, who would get our requests.
func (j *Jail) CheckPeer(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	if int(cred.Uid) != j.UID {
		return errors.New("the socket belongs to user " + strconv.Itoa(int(cred.Uid)) + ", not to the jail's user " + strconv.Itoa(j.UID))
	}
	return nil
}
