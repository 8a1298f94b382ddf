// Package imagetest makes Firecracker releases for tests: archives with programs
// that can be run. Only tests import it.
package imagetest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Program returns a program for the architecture, x86_64 or aarch64, which writes
// text to its standard output and ends well. It has a few hundred bytes.
func Program(arch, text string) []byte {
	const base = 0x400000
	kind, code := elf.EM_X86_64, codeX86(len(text))
	if arch == "aarch64" {
		kind, code = elf.EM_AARCH64, codeARM(len(text))
	}
	header := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(kind),
		Version: uint32(elf.EV_CURRENT),
		Ehsize:  64, Phoff: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
		Entry: base + 64 + 56,
	}
	size := uint64(64 + 56 + len(code) + len(text))
	load := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
	}
	var b bytes.Buffer
	for _, part := range []any{header, load, code, []byte(text)} {
		_ = binary.Write(&b, binary.LittleEndian, part) // a buffer takes everything
	}
	return b.Bytes()
}

// codeX86 is write(1, text, size) and exit(0); the text comes behind the code.
func codeX86(size int) []byte {
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, [rip+16]
		0xba, 0, 0, 0, 0, // mov edx, size
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}
	binary.LittleEndian.PutUint32(code[18:], uint32(size))
	return code
}

func codeARM(size int) []byte {
	move := func(register, value uint32) uint32 { return 0xd2800000 | value<<5 | register }
	const (
		supervisor = 0xd4000001
		address    = 0x10000001 | (7*4/4)<<5 // adr x1, what is 7 instructions on
	)
	var code []byte
	for _, instruction := range []uint32{
		move(0, 1), address, move(2, uint32(size)), move(8, 64), supervisor, // write
		move(0, 0), move(8, 93), supervisor, // exit
	} {
		code = binary.LittleEndian.AppendUint32(code, instruction)
	}
	return code
}
