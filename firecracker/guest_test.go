package firecracker_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// haltingKernel is the smallest x86_64 ELF image that Firecracker boots: one
// segment at 16 MiB whose code halts, again and again.
func haltingKernel() []byte {
	const load = 0x1000000
	code := []byte{0xf4, 0xeb, 0xfd} // hlt; jmp -1
	const headers = 64 + 56
	var b bytes.Buffer
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: load,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: headers,
		Vaddr: load, Paddr: load, Filesz: uint64(len(code)), Memsz: uint64(len(code)), Align: 1,
	}
	for _, part := range []any{header, segment, code} {
		_ = binary.Write(&b, binary.LittleEndian, part)
	}
	return b.Bytes()
}
