package netlinux

import (
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// answer is a message of the kernel.
type answer struct {
	kind, flags uint16
	sequence    uint32
	payload     []byte
}

// answers goes through the messages of a datagram.
func answers(b []byte) iter.Seq[answer] {
	return func(yield func(answer) bool) {
		for len(b) >= nlHeader {
			size := int(binary.NativeEndian.Uint32(b))
			if size < nlHeader || size > len(b) {
				return
			}
			m := answer{
				kind:     binary.NativeEndian.Uint16(b[4:]),
				flags:    binary.NativeEndian.Uint16(b[6:]),
				sequence: binary.NativeEndian.Uint32(b[8:]),
				payload:  b[nlHeader:size],
			}
			if !yield(m) {
				return
			}
			b = b[min(len(b), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		}
	}
}

// err returns what an answer says that ends something; nil for success.
func (m answer) err() error {
	if len(m.payload) < errnoBytes {
		return nil
	}
	errno := int32(binary.NativeEndian.Uint32(m.payload))
	if errno == 0 {
		return nil
	}
	if text := textOf(m.detail(unix.NLMSGERR_ATTR_MSG)); text != "" {
		return fmt.Errorf("%w: %s", unix.Errno(-errno), text)
	}
	return unix.Errno(-errno)
}

// offset returns where in the message that failed the fault is; 0 if that is not known.
func (m answer) offset() int {
	at := m.detail(unix.NLMSGERR_ATTR_OFFS)
	if len(at) != 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(at))
}

// detail returns what the kernel says about an error beside its number. The socket
// wants only the header of the message that failed before it.
func (m answer) detail(kind uint16) []byte {
	const head = errnoBytes + nlHeader
	if m.kind != unix.NLMSG_ERROR || m.flags&unix.NLM_F_ACK_TLVS == 0 || len(m.payload) < head {
		return nil
	}
	return attribute(m.payload[head:], kind)
}
