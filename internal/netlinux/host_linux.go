package netlinux

import (
	"errors"
	"io/fs"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const (
	// socketBuffer is what a socket may have to take at once, in bytes: the dump of
	// a host with thousands of links and routes. The kernel's default is 208 KiB.
	socketBuffer = 4 << 20
	// namespacePath is the network namespace of the calling thread.
	namespacePath = "/proc/thread-self/ns/net"
)

// Host is the network namespace of this process. It is safe for concurrent use.
// Network namespaces of single threads are not supported: every goroutine that
// calls it has to be in the same one.
type Host struct {
	// namespace tells network namespaces apart.
	namespace uint64
	// handle is for what the library does in one message.
	handle *netlink.Handle
	// route is for the messages made here, see [request].
	route *socket
	// nft is for tables.
	nft nftSocket
}

// Open opens the sockets to the kernel. It needs no capability: what a call does
// without one fails with [errcode.NotPermitted].
func Open() (*Host, error) {
	h := &Host{}
	if err := h.open(); err != nil {
		_ = h.Close()
		return nil, failed(errcode.NetworkFailed, "open", "netlink socket", err)
	}
	return h, nil
}

func (h *Host) open() error {
	var err error
	if h.namespace, err = namespace(); err != nil {
		return err
	}
	if h.route, err = openSocket(); err != nil {
		return err
	}
	if h.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	return granted(h.handle.SetSocketReceiveBufferSize(socketBuffer, true))
}

// Close closes the sockets. Deletions that have begun go on.
func (h *Host) Close() error {
	if h.handle != nil {
		h.handle.Close()
	}
	if h.route != nil {
		h.route.close()
	}
	h.nft.close()
	return nil
}

// namespace returns the network namespace of this thread, as the number of its inode.
func namespace() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(namespacePath, &stat); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: namespacePath, Err: err}
	}
	return stat.Ino, nil
}

// granted drops the error of a buffer that is not raised without the capability:
// the one that the kernel gives is enough for reading on most hosts.
func granted(err error) error {
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

// socket is one socket to rtnetlink; messages on it go one after the other.
type socket struct{ of map[int]*nl.SocketHandle }

func openSocket() (*socket, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		return nil, err
	}
	if err := errors.Join(granted(s.SetReceiveBufferSize(socketBuffer, true)), s.SetExtAck(true)); err != nil {
		s.Close()
		return nil, err
	}
	return &socket{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (s *socket) fd() int { return s.of[unix.NETLINK_ROUTE].Socket.GetFd() }

func (s *socket) close() { s.of[unix.NETLINK_ROUTE].Close() }

// request makes a message for those cases in which the library would need several.
func request(kind, flags int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Data = parts
	return req
}

// change sends a message that changes something.
func (s *socket) change(kind, flags int, parts ...nl.NetlinkRequestData) error {
	req := request(kind, flags|unix.NLM_F_ACK, parts...)
	req.Sockets = s.of
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// get sends a question and returns the answers' payload.
func (s *socket) get(kind, flags int, answer uint16, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	req := request(kind, flags, parts...)
	req.Sockets = s.of
	return req.Execute(unix.NETLINK_ROUTE, answer)
}

// dump asks for all of a kind. A list that changed while the kernel wrote it may
// lack what was there all the time, so it is asked for again.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 20
	for try := 1; ; try++ {
		all, err := list()
		if !errors.Is(err, nl.ErrDumpInterrupted) || try == tries {
			return all, err
		}
	}
}
