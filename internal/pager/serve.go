package pager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Options says what [Serve] serves, and to whom.
type Options struct {
	// Listener is a listening Unix socket that only Firecracker can connect to. It stays
	// open, and takes one connection only.
	Listener *os.File
	// Memory is the snapshot's memory file, open for reading. It stays open.
	Memory *os.File
	// WorkingSet is the path of a file that remembers which pages a restored guest needs
	// first: those that it names are fetched without being asked for. It is written when
	// there is none, or it has turned out to lack much. Its directory must be private, see
	// [privdir.Open]. Empty means none.
	WorkingSet string
	// Patience is how long Firecracker may take to connect and to send its message.
	// Default: 2 minutes.
	Patience time.Duration
	// Quiet is how long no page must have been asked for until the working set is complete;
	// after five times as long it is in any case. Default: 2 seconds.
	Quiet time.Duration
	// Logger is told what happens. Nil discards.
	Logger *slog.Logger
}

const (
	defaultPatience = 2 * time.Minute
	defaultQuiet    = 2 * time.Second

	// killTimeout bounds the wait for a Firecracker that was killed.
	killTimeout = 10 * time.Second
	// closing is how long after the connection a process may need to be gone.
	closing = time.Second
)

// Serve takes one connection from Firecracker, and fills its memory as it is touched until
// Firecracker ends, which is no error. In every other case, such as the end of ctx, a
// memory file that changes, or a message that does not hold up, it kills Firecracker before
// it returns: nobody could fill its memory any more.
func Serve(ctx context.Context, o Options) error {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Quiet == 0 {
		o.Quiet = defaultQuiet
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mem, err := openMemory(o.Memory)
	if err != nil {
		return err
	}
	defer func() { _ = mem.close() }()
	conn, err := accept(ctx, o.Listener, o.Patience)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	process, err := peer(conn)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err // it has not got our help yet, and so is not known either
	}
	defer process.Forget()
	var g guard
	defer g.close() // after it was found out how Firecracker has ended
	err = serve(ctx, o, mem, conn, process, &g)
	if err == nil || endedBefore(err, process) {
		return nil
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	return errors.Join(err, process.Kill(bounded))
}

// endedBefore reports whether an error came about because the process has ended, or is
// about to: that closes its end of the connection first.
func endedBefore(err error, process *proc.Process) bool {
	if errors.Is(err, errHungUp) {
		timer := time.NewTimer(closing)
		defer timer.Stop()
		select {
		case <-process.Done():
		case <-timer.C:
		}
	}
	select {
	case <-process.Done():
		return true
	default:
		return false
	}
}

// accept waits for the one connection. Whoever comes later is refused.
func accept(ctx context.Context, socket *os.File, patience time.Duration) (*net.UnixConn, error) {
	listener, err := net.FileListener(socket) // a copy: the original is what the process is found by, see proc.Resource
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = listener.Close() }()
	unixListener, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.New("listen: not a Unix socket")
	}
	unixListener.SetUnlinkOnClose(false)
	if err := unixListener.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = unixListener.SetDeadline(time.Now()) })
	defer stop()
	conn, err := unixListener.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("wait for firecracker: %w", cmp.Or(context.Cause(ctx), err))
	}
	err = control(unixListener, func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RDWR)) })
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// control calls f with the descriptor of a socket.
func control(socket syscall.Conn, f func(fd int) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = f(int(fd)) }), err)
}

// peer watches the process at the other end.
func peer(conn *net.UnixConn) (process *proc.Process, err error) {
	err = control(conn, func(fd int) error {
		process, err = proc.OpenPeer(fd)
		return err
	})
	return process, err
}

// serve does the work for a Firecracker that is known. It returns nil when that has ended.
func serve(ctx context.Context, o Options, mem *memory, conn *net.UnixConn, process *proc.Process, g *guard) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	descriptor, text, err := receive(conn)
	stop()
	if err != nil {
		return fmt.Errorf("receive firecracker's message: %w", cmp.Or(context.Cause(ctx), err))
	}
	defer func() { _ = unix.Close(int(descriptor)) }()
	places, err := parseLayout(text, mem.size())
	if err != nil {
		return fmt.Errorf("firecracker's message: %w", err)
	}
	if err := g.arm(conn, process); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ended, end := watch(ctx, conn, process)
	defer end()
	s, err := newServer(o, descriptor, places, mem)
	if err != nil {
		return err
	}
	defer s.close()
	o.Logger.Info("serving memory", slog.String("to", process.ID().String()), slog.Uint64("pages", places.pages), slog.Uint64("page_size", places.pageSize))
	if err := s.run(ended); err != nil {
		return err
	}
	if cause := context.Cause(ended); !errors.Is(cause, errEnded) {
		return cause
	}
	return nil
}

var errEnded = errors.New("firecracker has ended")

// watch returns a context that ends with errEnded when Firecracker has, with ctx, or when
// Firecracker does something with the connection, which it has no reason to.
func watch(ctx context.Context, conn *net.UnixConn, process *proc.Process) (ended context.Context, end func()) {
	ended, cancel := context.WithCancelCause(ctx)
	process.AfterDone(func() { cancel(errEnded) })
	over := make(chan struct{})
	go func() {
		defer close(over)
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			cancel(errors.New("firecracker has sent a second message"))
		} else {
			cancel(errUnguarded) // unless it was ended below
		}
	}()
	return ended, func() {
		cancel(nil)
		_ = conn.SetReadDeadline(time.Now())
		<-over
	}
}
