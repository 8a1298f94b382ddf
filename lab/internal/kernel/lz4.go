package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// lz4Magic begins a legacy frame of LZ4, which is how the kernel's build
// compresses a kernel (lz4_Frame_format.md of LZ4, and scripts/Makefile.lib).
const lz4Magic = "\x02\x21\x4c\x18"

const (
	lz4Block   = 8 << 20   // what a block unpacks to, but for the last
	maxKernel  = 512 << 20 // bytes that are believed to be a kernel
	maxLiteral = 15        // in a token; more is in the bytes that follow
	minMatch   = 4
)

var errLZ4 = errors.New("damaged LZ4 data")

// Vmlinux returns the uncompressed kernel within a bzImage that was compressed
// with LZ4, as those of Debian 12 are.
func Vmlinux(bzImage []byte) ([]byte, error) {
	for rest := bzImage; ; {
		at := bytes.Index(rest, []byte(lz4Magic))
		if at < 0 {
			return nil, errors.New("there is no vmlinux in it that was compressed with LZ4")
		}
		rest = rest[at+len(lz4Magic):]
		if out := unpackLegacy(rest); bytes.HasPrefix(out, []byte("\x7fELF")) {
			return out, nil
		}
	}
}

// unpackLegacy unpacks the blocks of a legacy frame, which has no end mark: what
// can't be a block is behind the last one.
func unpackLegacy(data []byte) (out []byte) {
	for len(data) >= 4 {
		size := int(binary.LittleEndian.Uint32(data))
		if size == 0 || size > len(data)-4 {
			break
		}
		block, err := unpackBlock(data[4:4+size], lz4Block)
		if err != nil || len(out)+len(block) > maxKernel {
			break
		}
		out, data = append(out, block...), data[4+size:]
		if len(block) < lz4Block {
			break
		}
	}
	return out
}

// unpackBlock unpacks a block of LZ4 (lz4_Block_format.md) to at most limit bytes.
func unpackBlock(in []byte, limit int) ([]byte, error) {
	out := make([]byte, 0, min(limit, 4*len(in)))
	for len(in) > 0 {
		token := in[0]
		literals, rest, err := length(in[1:], int(token>>4))
		if err != nil || literals > len(rest) || len(out)+literals > limit {
			return nil, errLZ4
		}
		out, in = append(out, rest[:literals]...), rest[literals:]
		if len(in) == 0 {
			return out, nil // the last sequence has no match
		}
		if len(in) < 2 {
			return nil, errLZ4
		}
		offset := int(binary.LittleEndian.Uint16(in))
		match, rest, err := length(in[2:], int(token&maxLiteral))
		match += minMatch
		if err != nil || offset == 0 || offset > len(out) || len(out)+match > limit {
			return nil, errLZ4
		}
		out, in = repeat(out, offset, match), rest
	}
	return nil, fmt.Errorf("%w: it ends with a match", errLZ4)
}

// length returns the length that begins with the number in a token.
func length(in []byte, n int) (int, []byte, error) {
	if n < maxLiteral {
		return n, in, nil
	}
	for i, b := range in {
		if n += int(b); n > maxKernel {
			break
		}
		if b != 0xff {
			return n, in[i+1:], nil
		}
	}
	return 0, nil, errLZ4
}

// repeat appends n bytes from offset bytes before the end, which may overlap what
// is appended.
func repeat(out []byte, offset, n int) []byte {
	out = slices.Grow(out, n)
	for n > 0 {
		from := out[len(out)-offset:]
		piece := from[:min(n, len(from))]
		out, n = append(out, piece...), n-len(piece)
	}
	return out
}
