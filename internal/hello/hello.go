// Package hello holds the hello guest: a bare-metal x86_64 program of a few KiB that Firecracker boots as a kernel in milliseconds,
// without a root file system. It prints what it sees on the serial console and does what words on its kernel command line ask for:
//
//	(none)             greet, then reset the machine, which ends Firecracker
//	hello.exit         the same, also together with words that would make it stay
//	hello.stay         idle until Ctrl+Alt+Del
//	hello.count[=MS]   print "count 1", "count 2" and so on, each MS milliseconds (default 100), until Ctrl+Alt+Del
//	hello.echo         print each line of console input again, until Ctrl+Alt+Del or a line "exit"
//	hello.mark         print nothing but the byte 0x06, first thing, then stay
//	hello.touch=MIB    write to each page of MIB mebibytes, print "touched N MiB", stay
//	hello.spin=N       print "spin start", loop N times, print "spin end"
//	hello.crash        triple fault
//	hello.hang         spin with interrupts off, deaf to Ctrl+Alt+Del
//	hello.flood        print lines as fast as the console takes them, until Ctrl+Alt+Del
//
// Words combine; other words are printed and ignored. Lines end with \r\n, as those of a Linux console do. The image runs on x86_64
// only, whatever this package is compiled for. Its source is in the directory guest.
package hello

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

//go:generate guest/build.sh

//go:embed guest/hello.elf
var image []byte

// The words that the guest obeys on its kernel command line.
const (
	Exit  = "hello.exit"
	Stay  = "hello.stay"
	Count = "hello.count"
	Echo  = "hello.echo"
	Mark  = "hello.mark"
	Crash = "hello.crash"
	Hang  = "hello.hang"
	Flood = "hello.flood"
)

// What the guest prints; its lines end with \r\n. CountPrefix is followed by a number from 1 on.
const (
	Greeting    = "Hello from a Firecracker microVM"
	Goodbye     = "Goodbye"
	CountPrefix = "count "
	SpinStart   = "spin start"
	SpinEnd     = "spin end"
	Marker      = byte(0x06)
)

// CountEach is the word that asks for a counter line each period, which is rounded to milliseconds; 1 ms is the shortest.
func CountEach(period time.Duration) string {
	return Count + "=" + strconv.FormatInt(max(period.Milliseconds(), 1), 10)
}

// Touch is the word that asks for mib mebibytes of dirty memory. The guest starts at 2 MiB and stops at the end of its memory or of the
// first GiB.
func Touch(mib int) string { return "hello.touch=" + strconv.Itoa(mib) }

// Spin is the word that asks for loops rounds of the loop that SpinHost runs on the host. A KVM that emulates kernel code, as kvm_pvm
// does, needs some two microseconds for each round; hardware needs less than a nanosecond.
func Spin(loops uint64) string { return "hello.spin=" + strconv.FormatUint(loops, 10) }

// Image returns a copy of the guest: an ELF64 executable to name as kernel_image_path.
func Image() []byte { return slices.Clone(image) }

// Digest returns the SHA-256 of the image in hexadecimal.
func Digest() string {
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}
