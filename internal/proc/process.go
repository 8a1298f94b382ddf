package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/poll"
)

// Process is a process that is being watched. Its methods may be called from
// several goroutines.
type Process struct {
	id     ID
	watch  *poll.Watch
	child  bool
	filter int // how many seccomp filters it began with, besides ours
	done   chan struct{}
	status Status // valid once done is closed
	ended  bool   // likewise; false when the watch was given up

	mu    sync.Mutex
	pidfd int      // closed once over is set
	over  bool     // done is closed, or about to be
	then  []func() // what is to be called then
}

// Spec says what to start. Nothing is inherited: no environment, and of the open
// files only the three that are given (and, unless it is Closed, what the rest of this
// program may have opened without O_CLOEXEC).
type Spec struct {
	Path                  string   // of the program
	Args                  []string // without the program's name
	Env                   []string // "NAME=value"
	Dir                   string   // working directory
	Stdin, Stdout, Stderr *os.File
	// Tied has the kernel kill the process when the thread ends that started it, and so
	// with this program at the latest (PR_SET_PDEATHSIG of prctl(2)). Threads of Go end
	// with a goroutine that was locked to them, and at no other time that is promised:
	// a caller locks its own, and lives as long as the process shall.
	Tied bool
	// Isolate, if it is set, is called on the thread that starts the process, which does
	// nothing else but is where the caller's is: what it does to the thread, such as
	// entering namespaces, is inherited.
	Isolate func() error
	// User is whom the process runs as, in no other group; nil means as we do. It takes
	// CAP_SETUID and CAP_SETGID.
	User *User
	// Limits are those of a User. They are set as soon as the process is there, which may
	// have taken its first steps by then. They go with Isolate.
	Limits []Limit
	// Closed keeps all open files but the three from the process, however they were opened
	// (Linux 5.11). It goes with Isolate.
	Closed bool
	// Restricted keeps the process for good from what takes no privilege and leads out of
	// a jail all the same: see filter.go. It goes with Isolate, and takes CAP_SYS_ADMIN.
	Restricted bool
	// Ahead is the thread that starts the process, made ready with what it was given.
	// It has to know of Restricted and Cgroup. Nil means that Start makes it.
	Ahead *Ahead
	// Namespaces are those that the process gets of its own, such as unix.CLONE_NEWPID.
	// The first process of one of these ends all others in it with itself, and of the
	// signals that it does not handle it gets only SIGKILL and SIGSTOP.
	Namespaces uintptr
	// TiedTo is the first process of a pid namespace, see Namespaces, that the new process
	// is started into: the kernel kills it when the other ends, whatever its user is by then
	// and whoever is left. It takes CAP_SYS_ADMIN, and excludes a pid namespace of its own.
	// The other one ends completely only once its dead have been waited for.
	TiedTo *Process
	// Cgroup is the directory of a control group of version 2, in which the process is
	// from its first instruction on (CLONE_INTO_CGROUP of clone(2), Linux 5.7). Nil means
	// ours.
	Cgroup *os.File
}

// User is a user with a group.
type User struct{ UID, GID int }

// Start starts a process in a session of its own, so that a Ctrl+C in our
// terminal does not reach it, and watches it.
func Start(s Spec) (*Process, error) {
	if s.Isolate == nil && s.TiedTo == nil {
		born, err := fork(s)
		if err != nil {
			return nil, err
		}
		return born.raise(s)
	}
	if s.TiedTo != nil { // as long as /proc is at hand
		if err := s.TiedTo.canTie(); err != nil {
			return nil, err
		}
	}
	ahead := s.Ahead
	if ahead == nil {
		ahead = GoAhead(func() error { return nil }, s.Restricted, s.Cgroup != nil)
		defer ahead.Close()
	}
	born, err := forkAhead(s, ahead)
	if err != nil {
		return nil, err
	}
	return born.raise(s)
}

// forkAhead forks on a thread that was made ready.
func forkAhead(s Spec, ahead *Ahead) (born child, err error) {
	begin := func() (err error) {
		if s.TiedTo != nil {
			err = s.TiedTo.tie()
		}
		if err == nil && s.Isolate != nil {
			err = s.Isolate()
		}
		if err == nil {
			born, err = forkHere(s)
		}
		return err
	}
	if err = ahead.do(begin, s.Closed); !errors.Is(err, errElsewhere) {
		return born, err
	}
	// Hardly a caller is elsewhere. To hold on to its thread, and to compare what /proc
	// says, would cost each start a fifth of a millisecond.
	runtime.LockOSThread() // so that the thread is the caller's until it has been looked at
	defer runtime.UnlockOSThread()
	caller := unix.Gettid()
	err = OnThread(func() error {
		err := enterNamespacesOf(caller)
		if err == nil {
			err = ahead.ready()
		}
		if err == nil {
			err = begin()
		}
		return err
	})
	return born, err
}

// Open watches a process that runs already. The error matches fs.ErrNotExist
// when it has ended, even if its pid is in use by another process.
func Open(id ID) (*Process, error) {
	pidfd, err := openID(id)
	if err != nil {
		return nil, err
	}
	if ended(pidfd) { // a zombie that its parent has not reaped
		return nil, errors.Join(errGone, unix.Close(pidfd))
	}
	return watch(id, pidfd, false)
}

func watch(id ID, pidfd int, child bool) (*Process, error) {
	p := &Process{id: id, pidfd: pidfd, child: child, done: make(chan struct{})}
	var err error
	// A pidfd can be read, as it were, when its process has ended.
	p.watch, err = poll.Add(pidfd, func() bool { return false }, func() { go p.end() })
	if err != nil {
		return nil, errors.Join(err, unix.Close(pidfd))
	}
	return p, nil
}

// end finds out how the process has ended.
func (p *Process) end() {
	p.ended = true
	if p.child {
		p.status = reap(p.id.PID)
	} else {
		p.status = exitInfo(p.id, p.pidfd)
	}
	p.finish()
}

func (p *Process) finish() {
	p.mu.Lock()
	_ = unix.Close(p.pidfd)
	p.over = true
	then := p.then
	p.mu.Unlock()
	close(p.done)
	for _, f := range then {
		f()
	}
}

// AfterDone has f called once Done is closed, in a goroutine that need not be
// made for it; in one of its own if Done is closed already.
func (p *Process) AfterDone(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		go func() {
			<-p.done
			f()
		}()
		return
	}
	p.then = append(p.then, f)
}

func ended(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// ID returns which process it is.
func (p *Process) ID() ID { return p.id }

// Child reports whether this program started the process.
func (p *Process) Child() bool { return p.child }

// Done is closed when the process has ended and, if it is a child of ours, been
// reaped; or when the watch was given up, see [Process.Forget].
func (p *Process) Done() <-chan struct{} { return p.done }

// Status says how the process ended. It must not be called before Done is closed.
func (p *Process) Status() Status {
	<-p.done
	return p.status
}

// Ended waits for Done and reports whether it was the process that ended, and
// not the watch.
func (p *Process) Ended() bool {
	<-p.done
	return p.ended
}

// Signal sends a signal. A process that has ended is no error.
func (p *Process) Signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	sent := unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	if sent != nil {
		return fmt.Errorf("signal %s: %w", p.id, sent)
	}
	return nil
}

// Control calls f with a pidfd of the process. When that has ended, f is not called and
// the error matches fs.ErrNotExist.
func (p *Process) Control(f func(pidfd int) error) error {
	pidfd, err := p.dup()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(pidfd) }()
	return f(pidfd)
}

func (p *Process) dup() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return 0, errGone
	}
	pidfd, err := unix.FcntlInt(uintptr(p.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	return pidfd, os.NewSyscallError("fcntl", err)
}

// Kill sends SIGKILL and waits until the process has ended.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.id, context.Cause(ctx))
	}
}

// Forget stops watching a process that is not a child. A child goes on being
// watched, since somebody has to reap it.
func (p *Process) Forget() {
	if p.child {
		return
	}
	if p.watch.Stop() {
		p.finish()
	}
	<-p.done
}
