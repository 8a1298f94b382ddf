package smartvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/plainfile"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/vmconfig"
)

// roleFirecracker and roleKeeper name the processes in a ledger.
const (
	roleFirecracker = "firecracker"
	roleKeeper      = "console keeper"
)

// makeOutputs makes the files that Firecracker writes to: before v1.14 it does
// not make them itself. Those that the user named stay after the VM.
func (l *launch) makeOutputs() error {
	for i := range l.plan.files.Files {
		f := &l.plan.files.Files[i]
		switch vmconfig.Role(f.Role) {
		case vmconfig.RoleLog, vmconfig.RoleMetrics, vmconfig.RoleSerial:
			made, err := touch(f.Host)
			if err != nil {
				return err
			}
			switch {
			case made && filepath.Dir(f.Host) == l.vm.Dir():
				f.Access |= jail.Ours
			case made:
				f.Access |= jail.Fresh
			}
		default:
		}
	}
	return nil
}

// touch makes a file unless it is there, and reports whether it has.
func touch(path string) (made bool, err error) {
	made, err = plainfile.Touch(path)
	if errors.Is(err, unix.ENXIO) {
		return false, nil // a FIFO without a reader yet
	}
	return made, err
}

// spawn starts Firecracker with the console as its standard input and output.
func (l *launch) spawn(ctx context.Context) error {
	v := l.vm
	con := console.New(v.Dir(), v.manager.opts.ConsoleLimit)
	ends, err := con.Create()
	if err != nil {
		return consoleError("make console", v.id, err)
	}
	defer func() { _ = ends.Close() }()
	stderr, err := plainfile.Open(filepath.Join(v.Dir(), stderrName), unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
	if err != nil {
		return err
	}
	defer stderr.Close()
	args := l.plan.args()
	if l.plan.fromFile {
		more, err := l.writeConfig()
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	if err := l.startPageServer(); err != nil {
		return err
	}
	process, err := l.runFirecracker(ctx, roleFirecracker, &l.plan.files, args, proc.Spec{Dir: v.Dir(), Stdin: ends.In, Stdout: ends.Out, Stderr: stderr})
	if process == nil {
		return err
	}
	l.process = process
	l.watchPages()
	keeper, kerr := con.Keep()
	v.watch(process, keeper)
	if kerr != nil {
		err = errors.Join(err, consoleError("keep console", v.id, kerr))
	}
	return err
}

// runFirecracker starts Firecracker, in the jail of its files if they have one.
func (l *launch) runFirecracker(ctx context.Context, role string, files *jail.Table, args []string, spec proc.Spec) (*proc.Process, error) {
	id := l.vm.ID()
	if l.group != nil {
		dir, err := l.group.Open()
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		spec.Cgroup = dir
	}
	if files.Jail == nil {
		if l.netns != nil {
			spec.Isolate = func() error { return proc.EnterNetwork(l.netns.File()) }
		}
		spec.Path, spec.Args = l.binary.Path, append([]string{"--id", id}, args...)
		return startRecorded(l.ledger, role, spec)
	}
	entrance, err := l.enterJail(ctx, files)
	if err != nil {
		return nil, err
	}
	if l.netns != nil {
		entrance.Network = l.netns.File()
	}
	defer func() { _ = entrance.Close() }()
	limits := l.jailLimits(files)
	if len(l.plan.config.NetworkInterfaces) == 0 && limits.NetNS == "" {
		entrance.Void = &l.vm.manager.void
	}
	spec.Restricted, spec.Namespaces = true, unix.CLONE_NEWPID // the others are its thread's
	if l.pages != nil {                                        // which is the first process of such a namespace, and ends all in it with itself
		spec.Namespaces &^= unix.CLONE_NEWPID
		spec.TiedTo = l.pages
	}
	if l.enclosed() {
		return l.runEnclosed(role, files.Jail, entrance, limits, args, spec)
	}
	spec.Path, spec.Isolate = l.jailer, l.entering(entrance.Isolate)
	if l.ahead.Fresh() { // else another Firecracker has had it
		spec.Isolate, spec.Ahead = l.entering(entrance.Attach), l.ahead
	}
	spec.Args = files.Jail.Args(l.binary.Path, id, limits, args)
	return startRecorded(l.ledger, role, spec)
}

// startRecorded starts a process that the ledger knows before it exists, by the
// standard input that no other process has. With an error there may be a process
// all the same, whose pid could not be recorded.
func startRecorded(led *ledger.Ledger, role string, spec proc.Spec) (process *proc.Process, err error) {
	resource := &proc.Resource{Role: role}
	if resource.Stdin, err = proc.Identify(spec.Stdin); err != nil {
		return nil, err
	}
	err = led.Make(resource, func() error {
		process, err = proc.Start(spec)
		if err != nil {
			return spawnError(spec.Path, err)
		}
		resource.ID = process.ID()
		return nil
	})
	return process, err
}

func spawnError(path string, err error) error {
	return &Error{Code: errcode.Of(err, errcode.BinaryUnusable), Op: "start process", Subject: path, Err: err}
}

func consoleError(op string, id vmconfig.ID, err error) error {
	e := &Error{Code: errcode.ConsoleFailed, Op: op, Subject: string(id), Err: err}
	if errors.Is(err, unix.ENOSPC) {
		e.Code, e.Hint = errcode.NoSpace, "free some room or choose another runtime directory (SMARTVM_RUNTIME_DIR)"
	}
	return e
}

// watch notices the end of the process, whoever causes it. keeper may be nil.
func (v *VM) watch(process *proc.Process, keeper *console.Keeper) {
	v.mu.Lock()
	v.process, v.keeper = process, keeper
	v.mu.Unlock()
	process.AfterDone(func() {
		if process.Ended() {
			v.onExit(process.Status())
		} else {
			close(v.gone) // nobody will learn of its end: see end
		}
	})
}

// drainTimeout bounds the wait for the last console output of a dead process.
const drainTimeout = 5 * time.Second

// drain waits for the last output.
func (v *VM) drain(keeper *console.Keeper) {
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	err := errNotDrained
	select {
	case <-keeper.Done():
		err = keeper.Err()
	case <-timer.C: // another process holds the FIFO open
	}
	if err != nil {
		v.manager.log.Warn("console output may be lost", slog.String("vm", v.ID()), slog.Any("err", err))
	}
}

var errNotDrained = errors.New("the console does not end with its process")

func (v *VM) onExit(status proc.Status) {
	v.mu.Lock()
	keeper, asked := v.keeper, v.asked
	v.mu.Unlock()
	if keeper != nil {
		v.drain(keeper)
	}
	ended := &Ended{Time: time.Now(), Status: status, Asked: asked || v.askedElsewhere(), Log: v.logTail()}
	if over := v.overLimit(); over != "" {
		ended.Log = append(ended.Log, over)
	}
	if v.tells() { // our clean-up waits for gone before it removes the file
		if err := recordEnd(v.Dir(), ended); err != nil && !errors.Is(err, fs.ErrNotExist) {
			v.manager.log.Warn("the end of a VM could not be recorded", slog.String("vm", v.ID()), slog.Any("err", err))
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = ended
	if v.state != Failed { // a start that failed is not made good by the end of its process
		v.state = ended.state()
	}
	if !ended.Asked {
		v.manager.log.Info("a VM ended by itself", slog.String("vm", v.ID()), slog.String("status", status.String()), slog.String("state", string(v.state)))
	}
	close(v.gone)
}

// tells reports whether it is on us to tell other processes how the VM ended:
// as its owner, or as the parent of its process, who alone is sure to know.
func (v *VM) tells() bool {
	v.mu.Lock()
	owned, process, made := v.ledger != nil, v.process, v.attached
	v.mu.Unlock()
	if owned || !process.Child() || made == nil {
		return owned
	}
	view, err := ledger.Read(v.manager.RuntimeDir(), string(v.id), kinds())
	return err == nil && view.Created.Equal(*made) // else the id is in use again
}

// askedElsewhere reports whether another process has stopped the VM.
func (v *VM) askedElsewhere() bool {
	_, err := os.Lstat(filepath.Join(v.Dir(), askedName))
	return err == nil
}

// exitGrace is how long a process may need to be gone after its socket is.
const exitGrace = 200 * time.Millisecond

// endedSoon returns how the process ended, if it did or is just about to.
func (v *VM) endedSoon() *Ended {
	v.mu.Lock()
	process := v.process
	v.mu.Unlock()
	if process == nil {
		return nil
	}
	timer := time.NewTimer(exitGrace)
	defer timer.Stop()
	select {
	case <-v.gone:
		return v.Ended()
	case <-timer.C:
		return nil
	}
}

// Ended tells how Firecracker ended; nil as long as it has not.
func (v *VM) Ended() *Ended {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended
}

// exited is the error of an operation that the end of Firecracker cut short.
func (v *VM) exited() error {
	e := &Error{Code: errcode.ProcessExited, Op: "run firecracker", Subject: string(v.id)}
	ended := v.Ended()
	e.Err = fmt.Errorf("it ended with %s", ended.Status)
	if n := len(ended.Log); n > 0 {
		e.Err = fmt.Errorf("%w: %s", e.Err, ended.Log[n-1])
	}
	return e
}

// How much of Firecracker's log is kept for errors.
const (
	tailBytes = 8 << 10
	tailLines = 10
)

// logTail returns the last lines that Firecracker logged or wrote to its
// standard error. It never fails: without a log there are no lines.
func (v *VM) logTail() []string {
	v.mu.Lock()
	paths := []string{v.files.Host(string(vmconfig.RoleLog)), filepath.Join(v.Dir(), stderrName)}
	ended := v.ended
	v.mu.Unlock()
	if ended != nil {
		return ended.Log
	}
	var lines []string
	for _, path := range paths {
		lines = append(lines, tail(path)...)
	}
	return lines
}

// tail returns the last whole lines of a regular file.
func tail(path string) []string {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, max(info.Size()-tailBytes, 0), tailBytes))
	if err != nil {
		return nil
	}
	var lines []string
	for line := range bytes.Lines(data) {
		if text := strings.TrimSpace(string(line)); text != "" {
			lines = append(lines, text)
		}
	}
	return lines[max(len(lines)-tailLines, 0):]
}

// makeSockets clears the way for the sockets that Firecracker makes and, if it makes
// them in a jail, links to them.
func (l *launch) makeSockets(ctx context.Context) error {
	j := l.plan.files.Jail
	for _, f := range l.plan.files.Files {
		link, target := func() error { return nil }, ""
		if j != nil {
			target = j.Path(f.Inside)
			link = func() error { return linkSocket(j, f) }
		}
		switch f.Role {
		case roleSocket: // it is in the VM's directory, and so goes with it
			if err := link(); err != nil {
				return err
			}
		case string(vmconfig.RoleVsock), string(vmconfig.RoleGDBSocket):
			// Before it is recorded: what is refused here is not ours to release.
			if err := removeStale(ctx, f.Host); err != nil {
				return err
			}
			if err := l.ledger.Make(&socketFile{Path: f.Host, Target: target}, link); err != nil {
				return err
			}
		}
	}
	return nil
}

// socketFile is a Unix socket that Firecracker makes and never removes, or a link to
// one.
type socketFile struct {
	Path   string `json:"path"`
	Target string `json:"target,omitempty"` // what the link says, "" for a socket
}

// Kind implements ledger.Resource.
func (s *socketFile) Kind() string { return "socket" }

// String implements ledger.Resource.
func (s *socketFile) String() string { return "socket " + s.Path }

// Release removes the socket. What somebody else has put there since our process
// ended is not ours. Where a link leads to is up to whoever was in the jail, and so no
// reason to keep it.
func (s *socketFile) Release(ctx context.Context) error {
	if target, err := os.Readlink(s.Path); err == nil && target == s.Target {
		return os.Remove(s.Path)
	}
	if err := removeStale(ctx, s.Path); !errors.Is(err, errcode.InvalidConfig) {
		return err
	}
	return nil
}

// removeStale removes a socket that nobody listens on. What is not a socket, or
// answers, is left alone and reported.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	inUse := &Error{Code: errcode.InvalidConfig, Op: "make socket", Subject: path, Hint: "choose another path"}
	if info.Mode().Type() == fs.ModeSymlink { // into the jail of another VM, perhaps
		if info, err = os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	if info.Mode().Type() != fs.ModeSocket {
		inUse.Err = errors.New("something that is not a socket is there")
		return inUse
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		inUse.Err = errors.New("another process listens there")
		return errors.Join(inUse, conn.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
