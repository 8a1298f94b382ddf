package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/vmconfig"
)

// DialVsock connects to a program in the guest that listens on a port of its vsock.
// The connection belongs to the caller; ctx bounds only how long it takes to make it.
// Firecracker has no word for a port that nobody listens on: it hangs up, which is an
// error that matches [io.EOF].
func (v *VM) DialVsock(ctx context.Context, port uint32) (net.Conn, error) {
	const op = "dial vsock"
	path, err := v.vsockPath(op)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		err = v.greet(ctx, conn, port)
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		code := errcode.SocketRequestFailed
		if ctx.Err() != nil {
			code = errcode.Cancelled
		}
		return nil, &Error{
			Code: code, Op: op, Subject: fmt.Sprintf("%s port %d", v.id, port), Err: err,
			Hint: "does a program in the guest listen on that port?",
		}
	}
	return conn, nil
}

// maxGreeting bounds "OK 1073741824\n", Firecracker's answer.
const maxGreeting = 32

// greet asks Firecracker for the port: "CONNECT PORT\n" is answered by "OK PORT\n", with
// the port of this side (docs/vsock.md of Firecracker).
func (v *VM) greet(ctx context.Context, conn net.Conn, port uint32) error {
	v.mu.Lock()
	j := v.files.Jail
	v.mu.Unlock()
	if j != nil {
		if err := checkPeer(j, conn); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(conn, "CONNECT %d\n", port); err != nil {
		return err
	}
	// One byte at a time: what comes behind the line is the caller's.
	var line strings.Builder
	for line.Len() < maxGreeting {
		var b [1]byte
		if _, err := conn.Read(b[:]); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		if b[0] == '\n' {
			break
		}
		line.WriteByte(b[0])
	}
	if !stop() { // the deadline is set, or about to be
		return context.Cause(ctx)
	}
	if !strings.HasPrefix(line.String(), "OK ") {
		return fmt.Errorf("firecracker answers %q", line.String())
	}
	return nil
}

// ListenVsock returns a listener for the connections that programs in the guest make to
// a port of the host (CID 2). It has to be closed by the caller; its socket goes with the
// VM at the latest. The guest may be up already.
func (v *VM) ListenVsock(port uint32) (net.Listener, error) {
	const op = "listen on vsock"
	path, err := v.vsockPath(op)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	j, inside := v.files.Jail, v.files.Inside(string(vmconfig.RoleVsock))
	v.mu.Unlock()
	if j != nil {
		path = j.Path(inside)
	}
	listener, err := listenBeside(path, port, j)
	if err != nil {
		return nil, &Error{Code: errcode.SocketRequestFailed, Op: op, Subject: fmt.Sprintf("%s port %d", v.id, port), Err: err}
	}
	return listener, nil
}

// vsockListener listens in a directory whose path may be longer than a socket's can be.
type vsockListener struct {
	*net.UnixListener

	dir  *os.Root
	name string
}

// listenBeside listens at PATH_PORT, where Firecracker looks for somebody who takes the
// guest's connections.
func listenBeside(path string, port uint32, j *jail.Jail) (net.Listener, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	l := &vsockListener{dir: dir, name: filepath.Base(path) + "_" + strconv.FormatUint(uint64(port), 10)}
	if l.UnixListener, err = listenIn(dir, l.name); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	l.SetUnlinkOnClose(false) // the path that it knows is not for long
	if j != nil {
		err = dir.Lchown(l.name, j.UID, j.GID)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func listenIn(dir *os.Root, name string) (*net.UnixListener, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name), Net: "unix"})
}

// Close implements net.Listener.
func (l *vsockListener) Close() error {
	err := l.UnixListener.Close()
	if removed := l.dir.Remove(l.name); !errors.Is(removed, fs.ErrNotExist) { // it went with the VM
		err = errors.Join(err, removed)
	}
	return errors.Join(err, l.dir.Close())
}

// vsockPath is the path of the VM's vsock on the host.
func (v *VM) vsockPath(op string) (string, error) {
	v.mu.Lock()
	path, alive := v.files.Host(string(vmconfig.RoleVsock)), v.state.alive()
	v.mu.Unlock()
	switch {
	case v.config.Vsock == nil:
		return "", &Error{Code: errcode.InvalidConfig, Op: op, Subject: string(v.id), Err: errors.New("the VM has no vsock device"), Hint: "add one: vsock {guest_cid, uds_path}, or --vsock"}
	case !alive || path == "":
		return "", v.noClient(op)
	}
	return path, nil
}
