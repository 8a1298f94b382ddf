package baseimage

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/smartvm/smartvm/errcode"
)

const (
	archX86   = "x86_64"
	archARM   = "aarch64"
	opKernel  = "inspect kernel"
	hintX86   = "use vmlinux from the kernel's build, or take it out: scripts/extract-vmlinux of the kernel's source"
	hintARM   = "use arch/arm64/boot/Image from the kernel's build"
	hintOther = "Firecracker boots an uncompressed vmlinux on x86_64, and an Image on aarch64"
)

// Where kernels have their marks (Documentation/arch/x86/boot.rst and
// Documentation/arch/arm64/booting.rst of Linux).
const (
	bzImageMark = 0x202 // "HdrS"
	arm64Mark   = 56    // "ARM\x64"
	kernelHead  = 0x206
)

// kernelArch returns what processor a kernel is for. A file that Firecracker
// would not boot is INVALID_CONFIG; name is for its error.
func kernelArch(name string, f io.ReaderAt) (string, error) {
	head := make([]byte, kernelHead)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	refuse := func(what, hint string) (string, error) {
		return "", &errcode.Error{
			Code: errcode.InvalidConfig, Op: opKernel, Subject: name, Hint: hint,
			Details: []errcode.Detail{{Field: "kernel", Message: what}},
		}
	}
	switch {
	case string(head[:4]) == elf.ELFMAG:
		return elfArch(f, refuse)
	case string(head[arm64Mark:arm64Mark+4]) == "ARM\x64":
		return archARM, nil
	case string(head[bzImageMark:]) == "HdrS":
		return refuse("is a bzImage, which unpacks itself", hintX86)
	case binary.BigEndian.Uint16(head) == 0x1f8b:
		return refuse("is compressed with gzip", "decompress it first: gzip -dc FILE >vmlinux")
	default:
		return refuse("is no kernel that can be recognised", hintOther)
	}
}

func elfArch(f io.ReaderAt, refuse func(what, hint string) (string, error)) (string, error) {
	program, err := elf.NewFile(f)
	if err != nil {
		return refuse("is a damaged ELF file: "+err.Error(), hintX86)
	}
	switch {
	case program.Machine == elf.EM_AARCH64:
		return refuse("is an ELF file for aarch64", hintARM)
	case program.Machine != elf.EM_X86_64 || program.Class != elf.ELFCLASS64:
		return refuse(fmt.Sprintf("is an ELF file for %s", program.Machine), hintOther)
	case program.Type != elf.ET_EXEC && program.Type != elf.ET_DYN:
		return refuse(fmt.Sprintf("is an ELF file of type %s", program.Type), hintX86)
	}
	return archX86, nil
}
