package netlinux

import (
	"encoding/binary"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// attributes is the payload of a message to nftables while it is written. Numbers
// are big-endian, headers in the host's order.
type attributes []byte

const (
	attributeHeader = 4
	// attributeMax is the size of the largest attribute: its length has 16 bits.
	attributeMax = 1<<16 - 1
)

// bytes appends an attribute.
func (a *attributes) bytes(kind uint16, value ...byte) {
	a.header(kind, len(value))
	*a = append(*a, value...)
	a.pad()
}

// text appends an attribute with a string that ends with a zero byte.
func (a *attributes) text(kind uint16, value string) {
	a.header(kind, len(value)+1)
	*a = append(*a, value...)
	*a = append(*a, 0)
	a.pad()
}

// number appends an attribute of four bytes.
func (a *attributes) number(kind uint16, value uint32) {
	a.header(kind, 4)
	*a = binary.BigEndian.AppendUint32(*a, value)
}

// number64 appends an attribute of eight bytes.
func (a *attributes) number64(kind uint16, value uint64) {
	a.header(kind, 8)
	*a = binary.BigEndian.AppendUint64(*a, value)
}

// reserve makes room for so many bytes.
func (a *attributes) reserve(size int) { *a = slices.Grow(*a, size) }

// begin opens an attribute that contains others; end closes it.
func (a *attributes) begin(kind uint16) (start int) { return a.start(kind | unix.NLA_F_NESTED) }

// start opens an attribute whose value is appended piece by piece; end closes it.
func (a *attributes) start(kind uint16) (start int) {
	start = len(*a)
	a.header(kind, 0)
	return start
}

func (a *attributes) end(start int) {
	binary.NativeEndian.PutUint16((*a)[start:], uint16(len(*a)-start))
	a.pad()
}

func (a *attributes) header(kind uint16, size int) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(attributeHeader+size))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
}

func (a *attributes) pad() {
	for len(*a)%unix.NLA_ALIGNTO != 0 {
		*a = append(*a, 0)
	}
}

// attributesOf goes through the attributes of a message or of an attribute. It ends
// at what is no attribute.
func attributesOf(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attributeHeader {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < attributeHeader || size > len(b) || !yield(kind, b[attributeHeader:size]) {
				return
			}
			b = b[min(len(b), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
		}
	}
}

// attribute returns the value of the attribute that the path of kinds leads to; nil
// if there is none.
func attribute(b []byte, path ...uint16) []byte {
	for _, want := range path {
		var found []byte
		for kind, value := range attributesOf(b) {
			if kind == want {
				found = value
				break
			}
		}
		b = found
	}
	return b
}

// numberOf reads a number of up to eight bytes.
func numberOf(b []byte) uint64 {
	var n uint64
	for _, digit := range b[:min(len(b), 8)] {
		n = n<<8 | uint64(digit)
	}
	return n
}

// textOf reads a string without the zero byte at its end.
func textOf(b []byte) string { return unix.ByteSliceToString(b) }
