package smartvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/lease"
	"github.com/smartvm/smartvm/internal/proc"
)

// JailOptions say how the Firecracker processes of a [Manager] are confined. In a
// jail each runs as a user of its own without any capability, in a mount namespace in
// which there is nothing but its own files, which keep their owners on the host.
// Firecracker's jailer makes the jail of a VM that boots. That of a VM that is restored
// is the same, but made without the jailer, which takes half as long as a restore.
type JailOptions struct {
	// Off runs Firecracker as this process's user, with all that he may do. Default: a
	// jail for every VM where this process is root, whom the jailer needs, and none
	// elsewhere.
	Off bool
	// JailerPath is the jailer, which has to be of the same release as Firecracker.
	// Default: the one beside Firecracker, else that of the release below the data
	// directory, which is downloaded if it is missing.
	JailerPath string
	// FirstUID is the first of UIDs user ids, which are group ids as well, that VMs get,
	// one each. Default 1900000000, and 65536 of them: a range that no distribution and
	// no container manager gives to anybody (systemd's list of them, UIDS-GIDS.md).
	FirstUID int
	UIDs     int
	// LeaseDir knows which of these are in use. All managers of a host should share it.
	// Default /run/smartvm/users.
	LeaseDir string
}

// Defaults of JailOptions.
const (
	DefaultFirstUID = 1_900_000_000
	DefaultUIDs     = 1 << 16
	DefaultLeaseDir = "/run/smartvm/users"
)

func (o JailOptions) withDefaults() (JailOptions, error) {
	if os.Geteuid() != 0 {
		o.Off = true
	}
	if o.FirstUID == 0 {
		o.FirstUID = DefaultFirstUID
	}
	if o.UIDs == 0 {
		o.UIDs = DefaultUIDs
	}
	if o.LeaseDir == "" {
		o.LeaseDir = DefaultLeaseDir
	}
	// Above, the kernel has -1, which is nobody.
	const maxUID = 1<<32 - 2
	if o.FirstUID < 1 || o.UIDs < 1 || o.FirstUID > maxUID-o.UIDs+1 {
		return o, &Error{
			Code: errcode.InvalidConfig, Op: "make manager",
			Err:  fmt.Errorf("jail: the user ids %d to %d are no range of 1 to %d", o.FirstUID, o.FirstUID+o.UIDs-1, int64(maxUID)),
			Hint: "leave FirstUID and UIDs out to get a range that nobody else uses",
		}
	}
	return o, nil
}

// Names of what only a jailed VM has in its directory.
const jailName = "jail"

// Roles of files that only a start knows.
const (
	roleConfig   = "config"
	roleMetadata = "metadata"
	roleTemplate = "cpu-template"
)

// checkJail refuses what only a jail could do.
func (p *plan) checkJail() []errcode.Detail {
	if p.config.Jail == nil || p.files.Jail != nil {
		return nil
	}
	return []errcode.Detail{{Field: "jail", Message: "needs a jail, and this manager makes none: run it as root, and leave the jail on"}}
}

// newJail returns the jail that the VM will have, without a user yet; nil without one.
func (l *launch) newJail() *jail.Jail {
	switch {
	case l.jailer == "":
		return nil
	case l.restore != nil:
		return &jail.Jail{Root: filepath.Join(l.vm.Dir(), jailName)}
	}
	return jail.New(filepath.Join(l.vm.Dir(), jailName), l.binary.Path, l.vm.ID(), 0)
}

// leaseUser gives the jail a user that no other VM of the host has.
func (l *launch) leaseUser(context.Context) error {
	j, m := l.plan.files.Jail, l.vm.manager
	if j == nil {
		return nil
	}
	user, err := m.users.Take("user id", l.vm.Dir(), m.opts.Jail.users(l.vm.Dir()), func(user *lease.Lease, effect func() error) error {
		return l.ledger.Make(user, effect)
	})
	if errors.Is(err, lease.ErrNone) {
		o := m.opts.Jail
		return &Error{
			Code: errcode.UIDExhausted, Op: "lease user", Subject: l.vm.ID(), Err: fmt.Errorf("%w: %d user ids from %d on", err, o.UIDs, o.FirstUID),
			Hint: "clean up VMs, or give the manager a larger range (JailOptions.UIDs)",
		}
	}
	if err != nil {
		return err
	}
	j.UID, err = strconv.Atoi(user.Name)
	j.GID = j.UID
	return err
}

// users are the ids of the range, from one on that depends on the VM: so an id that
// was given back is not the next that is given out.
func (o JailOptions) users(vm string) iter.Seq[string] {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(vm))
	start := int(hash.Sum32()) % o.UIDs
	return func(yield func(string) bool) {
		for i := range o.UIDs {
			if !yield(strconv.Itoa(o.FirstUID + (start+i)%o.UIDs)) {
				return
			}
		}
	}
}

// enterJail makes a jail and brings its files.
func (l *launch) enterJail(ctx context.Context, files *jail.Table) (entrance *jail.Entrance, err error) {
	j := files.Jail
	if err := j.Make(); err != nil {
		return nil, err
	}
	if entrance, err = j.Enter(&l.vm.manager.space); err != nil {
		return nil, err
	}
	for _, f := range files.Files {
		switch {
		case l.early() && l.stages(f):
		case f.Access&(jail.Read|jail.Write) != 0:
			err = entrance.Bring(ctx, f)
		case f.Access&jail.Beside != 0:
			err = entrance.MakeSockets()
		}
		if err != nil {
			return nil, errors.Join(jailError(f, err), entrance.Close())
		}
	}
	return entrance, nil
}

// goAhead makes the thread ready that will start Firecracker in a jail.
func (l *launch) goAhead() *proc.Ahead {
	m := l.vm.manager
	unshare := func() error { return jail.Unshare(&m.void) }
	if l.enclosed() {
		unshare = func() error { return m.bare.Unshare(&m.void) }
	}
	return proc.GoAhead(l.entering(unshare), true, l.plan.config.Limits != nil)
}

// entering gives the error of a thread that can't be moved into a jail its code.
func (l *launch) entering(move func() error) func() error {
	return func() error {
		if err := move(); err != nil {
			e := &Error{Code: errcode.JailFailed, Op: "enter jail", Subject: l.vm.ID(), Err: err}
			if errors.Is(err, unix.EPERM) {
				e.Hint = hintPowerless
			}
			return e
		}
		return nil
	}
}

// jailLimits are what the VM's config says of its jail, and what follows from its files.
func (l *launch) jailLimits(files *jail.Table) (limits jail.Limits) {
	if c := l.plan.config.Jail; c != nil {
		limits = jail.Limits{NetNS: c.NetNS, Files: c.MaxOpenFiles, FileSize: int64(c.MaxFileSize)}
	}
	limits.FileSize = cmp.Or(limits.FileSize, l.fileSize(files))
	return limits
}

// jailError tells which file could not enter.
func jailError(f jail.File, err error) error {
	e := &Error{Code: errcode.Of(err, errcode.JailFailed), Op: "bring " + f.Role + " into jail", Subject: f.Host, Err: err, Hint: hintKeptOut}
	if errors.Is(err, unix.EPERM) && !errors.Is(err, jail.ErrKeptOut) {
		e.Hint = hintPowerless
	}
	return e
}

const (
	hintKeptOut   = "give others the access that the VM needs, put the file on a file system that can map owners (ext4, xfs, btrfs; tmpfs since Linux 6.3), or switch the jail off (--no-jail)"
	hintPowerless = "a jail takes root with CAP_SYS_ADMIN, which a container gets by --privileged or --cap-add SYS_ADMIN; or switch it off (--no-jail)"
)

// linkSocket makes the socket that a confined Firecracker will make reachable by the
// path that it would have without a jail.
func linkSocket(j *jail.Jail, f jail.File) error { return os.Symlink(j.Path(f.Inside), f.Host) }

// dialer returns how a client connects to Firecracker; nil for the usual way.
func dialer(j *jail.Jail) func(ctx context.Context, socket string) (net.Conn, error) {
	if j == nil {
		return nil
	}
	return func(ctx context.Context, socket string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		if err := checkPeer(j, conn); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}

func checkPeer(j *jail.Jail, conn net.Conn) error {
	unixConn, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return fmt.Errorf("a connection to a Unix socket is a %T", conn)
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return err
	}
	var wrong error
	return errors.Join(raw.Control(func(fd uintptr) { wrong = j.CheckPeer(int(fd)) }), wrong)
}

// bring makes a file known to the Firecracker of a VM that runs, in place of the one
// that has its role, and returns the path that Firecracker is to be given.
func (v *VM) bring(ctx context.Context, role, host string, access jail.Access) (string, error) {
	f, err := v.letIn(ctx, role, host, access)
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	v.files.Put(f)
	v.mu.Unlock()
	return f.Inside, nil
}

// letIn makes a file known to the Firecracker of a VM that runs.
func (v *VM) letIn(ctx context.Context, role, host string, access jail.Access) (jail.File, error) {
	v.mu.Lock()
	files := v.files
	v.mu.Unlock()
	f, err := files.File(role, host, access)
	if err != nil {
		return f, &Error{Code: errcode.InvalidConfig, Op: "resolve path", Subject: string(v.id), Err: err}
	}
	if files.Jail == nil {
		return f, files.Link(f)
	}
	v.mu.Lock()
	process := v.process
	v.mu.Unlock()
	if f.Access&jail.Write != 0 {
		if err := v.allowFileSize(process, f.Host); err != nil {
			return f, err
		}
	}
	return f, v.admit(ctx, files.Jail, process, f)
}

// admit lets files into the jail of a Firecracker that runs.
func (v *VM) admit(ctx context.Context, j *jail.Jail, process *proc.Process, files ...jail.File) error {
	if len(files) == 0 {
		return nil
	}
	entrance, err := j.Enter(&v.manager.space)
	if err != nil {
		return jailError(files[0], err)
	}
	defer func() { _ = entrance.Close() }()
	for _, f := range files {
		if err := entrance.Bring(ctx, f); err != nil {
			return jailError(f, err)
		}
	}
	if err := proc.OnThread(func() error { return process.Control(entrance.Join) }); err != nil {
		return jailError(files[0], err)
	}
	return nil
}
