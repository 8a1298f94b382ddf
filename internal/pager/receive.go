package pager

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// messageLimit is how long Firecracker's message may be. A region takes some 130 bytes of
// it, and guests have one to three.
const messageLimit = 16 << 10

// receive takes the one message that Firecracker sends: an array in JSON, and the
// userfaultfd with its first bytes. Whatever else comes along is closed.
func receive(conn *net.UnixConn) (_ uffd, text []byte, err error) {
	var got []int
	defer func() {
		if err != nil {
			closeAll(got)
		}
	}()
	buf, control := make([]byte, messageLimit), make([]byte, unix.CmsgSpace(4*4))
	for !json.Valid(text) {
		if len(text) == messageLimit {
			return -1, nil, fmt.Errorf("what it has sent is no list of regions, or longer than %d bytes", messageLimit)
		}
		n, c, flags, _, err := conn.ReadMsgUnix(buf[:messageLimit-len(text)], control)
		fds, unpacked := descriptors(control[:c])
		got = append(got, fds...)
		switch {
		case errors.Is(err, io.EOF) || err == nil && n == 0:
			return -1, nil, fmt.Errorf("%w before its message was whole", errHungUp)
		case err != nil:
			return -1, nil, err
		case unpacked != nil:
			return -1, nil, unpacked
		case flags&unix.MSG_CTRUNC != 0 || len(got) > 1:
			return -1, nil, errors.New("it has sent more than one descriptor")
		}
		text = append(text, buf[:n]...)
	}
	if len(got) == 0 {
		return -1, nil, errors.New("it has sent no userfaultfd")
	}
	if !isUffd(got[0]) {
		return -1, nil, errors.New("the descriptor that it has sent is no userfaultfd")
	}
	if err := unix.SetNonblock(got[0], true); err != nil {
		return -1, nil, os.NewSyscallError("fcntl", err)
	}
	return uffd(got[0]), text, nil
}

// descriptors returns what has come with a message, also with an error.
func descriptors(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		rights, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, rights...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
