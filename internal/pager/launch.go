package pager

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/proc"
)

// Launch says how the process of a server is started.
type Launch struct {
	// Command is a program with arguments that calls Serve with what [Inherited] returns.
	Command []string
	// Socket is the path at which Firecracker will find the server. Nothing must be there.
	Socket string
	// Memory is the snapshot's memory file, open for reading. The server gets the open
	// file and not its path, so that it serves what the caller has checked; a lock of
	// flock(2) on it is held until the server ends as well.
	Memory *os.File
	// WorkingSet is as in [Options].
	WorkingSet string
	// Namespace has the server be the first process of a pid namespace. Firecracker is
	// started into it (TiedTo of [proc.Spec]), and so ends with the server from its first
	// instruction on. A jailed one has to be, as it can't be guarded while it is the first
	// process of a namespace. It takes CAP_SYS_ADMIN.
	Namespace bool
	// Log is the path of the file that the server's standard error is appended to.
	Log string
}

// Prepared is a server that can be started. What it holds is the process's own once that
// has been started.
type Prepared struct {
	// Spec is what to start. Its standard input, the socket, belongs to no other process.
	Spec proc.Spec
}

// Prepare makes the socket: from now on Firecracker can connect to it, also before the
// server is at work. The caller closes what it returns once it has started the process; if
// the server then ends before it has got to know a Firecracker that is not in its pid
// namespace, it is on the caller to kill that. The socket's file is the caller's to remove.
func (l Launch) Prepare() (*Prepared, error) {
	socket, err := listen(l.Socket)
	if err != nil {
		return nil, err
	}
	log, err := plainfile.Open(l.Log, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
	if err != nil {
		return nil, errors.Join(err, socket.Close(), os.Remove(l.Socket))
	}
	args := l.Command[1:len(l.Command):len(l.Command)]
	if l.WorkingSet != "" {
		args = append(args, l.WorkingSet)
	}
	spec := proc.Spec{Path: l.Command[0], Args: args, Dir: "/", Stdin: socket, Stdout: l.Memory, Stderr: log}
	if l.Namespace {
		spec.Namespaces = unix.CLONE_NEWPID
	}
	return &Prepared{spec}, nil
}

// Close closes the caller's ends of what the process has inherited, but for the memory file.
func (p *Prepared) Close() error {
	return errors.Join(p.Spec.Stdin.Close(), p.Spec.Stderr.Close())
}

// Inherited returns the options of a process that was started as [Launch] says: the socket
// is its standard input, the memory file its standard output, and the path of the working
// set, if there is one, its only argument.
func Inherited(args []string, log *slog.Logger) Options {
	o := Options{Listener: os.Stdin, Memory: os.Stdout, Logger: log}
	if len(args) > 0 {
		o.WorkingSet = args[0]
	}
	return o
}

// listen makes a socket that only its owner can connect to.
func listen(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), path)
	err = os.NewSyscallError("fchmod", unix.Fchmod(fd, 0o600)) // which the file inherits
	if err == nil {
		err = bind(fd, path)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 1))
	}
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

func bind(fd int, path string) error {
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, unix.EINVAL) {
		return &errcode.Error{Code: errcode.PathTooLong, Op: "make socket", Subject: path, Err: err, Hint: "choose a shorter runtime directory"}
	}
	if err != nil {
		return &os.PathError{Op: "bind", Path: path, Err: err}
	}
	return nil
}
