package netlinux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nftSocket is the socket to nftables. It is opened when it is needed first and kept.
// All that the kernel has to say about a message is in the socket when sending it
// returns, or is made while it is read, so that nobody ever waits here.
//
// The messages are written here and not by google/nftables, which has an
// acknowledgement for each of them, can't tell which one failed, and does not split
// what is too large for one message. The expressions of rules are that library's.
type nftSocket struct {
	mu sync.Mutex
	// fd is the socket's descriptor if open is set.
	fd     int
	open   bool
	stays  bool // see stay
	room   int  // what may be sent at once, in bytes
	buffer []byte
}

const (
	// receiveBuffer is larger than what the kernel puts into one datagram.
	receiveBuffer = 64 << 10
	// sendRoom is the first size of the send buffer, in bytes.
	sendRoom = 1 << 20

	nfHeader   = 4 // struct nfgenmsg
	nlHeader   = unix.SizeofNlMsghdr
	errnoBytes = 4
)

// commit does all of a transaction or nothing. The error names what failed first.
func (s *nftSocket) commit(t *transaction) error {
	if len(t.subjects) == 0 {
		return nil
	}
	message := t.finish()
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	done := false
	err := s.exchange(message, func(m answer) {
		if m.kind == unix.NLMSG_ERROR {
			done = true
			if first == nil {
				first = t.failure(m)
			}
		}
	})
	switch {
	case first != nil:
		return first
	case err != nil:
		return err
	case !done: // the last message asks for an answer
		s.closeLocked()
		return errors.New("the kernel did not answer")
	}
	return nil
}

// get asks for objects and calls each with the payload of each answer. With the flag
// NLM_F_DUMP that is all objects; otherwise the one that is named, or ENOENT. What
// each is called with is valid during the call only.
func (s *nftSocket) get(kind, flags uint16, family byte, question attributes, each func(attributes []byte)) error {
	message := appendHeader(nil, kind, unix.NLM_F_REQUEST|flags, family)
	message = append(message, question...)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	s.mu.Lock()
	defer s.mu.Unlock()
	var fault error
	whole, interrupted := flags&unix.NLM_F_DUMP == 0, false
	err := s.exchange(message, func(m answer) {
		interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		if m.kind == unix.NLMSG_DONE || m.kind == unix.NLMSG_ERROR {
			fault, whole = m.err(), true
			return
		}
		if len(m.payload) >= nfHeader {
			each(m.payload[nfHeader:])
		}
	})
	switch {
	case fault != nil:
		return fault
	case err != nil:
		return err
	case !whole:
		s.closeLocked()
		return errors.New("the list of nftables has no end")
	case interrupted:
		return nl.ErrDumpInterrupted
	}
	return nil
}

// exchange sends a message and calls each with every answer, which is valid during
// the call only.
func (s *nftSocket) exchange(message []byte, each func(answer)) error {
	if err := s.openLocked(len(message)); err != nil {
		return err
	}
	if err := unix.Sendto(s.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.closeLocked()
		return fmt.Errorf("send to nftables: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil { // what is still to come belongs to nobody
			s.closeLocked()
			return fmt.Errorf("receive from nftables: %w", err)
		}
		for m := range answers(s.buffer[:n]) {
			each(m)
		}
	}
}

// stay opens the socket where the calling thread is, and nowhere else from then on: where
// it is closed after an error it can't be used any more.
func (s *nftSocket) stay() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.openLocked(0)
	s.stays = true
	return err
}

// openLocked opens the socket, with room for a message of that size.
func (s *nftSocket) openLocked(size int) error {
	if !s.open {
		if s.stays {
			return errors.New("the socket to nftables in another namespace is closed")
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return fmt.Errorf("open a socket to nftables: %w", err)
		}
		s.fd, s.open, s.room = fd, true, 0
		if s.buffer == nil {
			s.buffer = make([]byte, receiveBuffer)
		}
		// Errors come with their reason and without the message that they are about. A
		// socket too full of errors still has the first.
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1),
			granted(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)),
		)
		if err != nil {
			s.closeLocked()
			return fmt.Errorf("set up a socket to nftables: %w", err)
		}
	}
	if s.room < size {
		room := max(size, sendRoom)
		if err := granted(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room)); err != nil {
			return fmt.Errorf("make room for %d bytes to nftables: %w", size, err)
		}
		s.room = room
	}
	return nil
}

func (s *nftSocket) closeLocked() {
	if s.open {
		_ = unix.Close(s.fd)
		s.open = false
	}
}

// close closes the socket; the next call would open it anew.
func (s *nftSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked()
}
