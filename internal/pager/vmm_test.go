package pager_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/internal/proc"
)

// actor is a process that does with its memory what Firecracker does, and whatever else a
// line on its standard input says. The memory is what a test is about, so it has to be
// another process's.
type actor struct {
	page    int
	regions [][]byte
	uffd    int
	conn    *net.UnixConn
}

// play is the process's life: SOCKET PAGE-SIZE SIZE...
func play(args []string) error {
	runtime.GOMAXPROCS(16) // a goroutine that waits for a page keeps its processor
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: args[0], Net: "unix"})
	if err != nil {
		return err
	}
	a := &actor{conn: conn}
	if a.page, err = strconv.Atoi(args[1]); err != nil {
		return err
	}
	if a.uffd, err = pager.NewUffd(); err != nil {
		return err
	}
	for _, text := range args[2:] {
		size, err := strconv.Atoi(text)
		if err == nil {
			err = a.grow(size)
		}
		if err != nil {
			return err
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := a.do(strings.Fields(lines.Text()))
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	return nil
}

// From the kernel's include/uapi/linux/userfaultfd.h.
const ioRegister, modeMissing = 0xc020aa00, 1

func (a *actor) grow(size int) error {
	flags := unix.MAP_PRIVATE | unix.MAP_ANON
	if a.page > os.Getpagesize() {
		flags |= unix.MAP_HUGETLB
	}
	region, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return err
	}
	args := struct{ start, length, mode, ioctls uint64 }{base(region), uint64(size), modeMissing, 0}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(a.uffd), ioRegister, uintptr(unsafe.Pointer(&args))); errno != 0 {
		return errno
	}
	a.regions = append(a.regions, region)
	return nil
}

func base(region []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(region)))) }

// at returns the beginning of a page, by its number in the memory file.
func (a *actor) at(page int) *uint64 {
	offset := page * a.page
	for _, r := range a.regions {
		if offset < len(r) {
			return (*uint64)(unsafe.Pointer(&r[offset]))
		}
		offset -= len(r)
	}
	panic("no such page")
}

func (a *actor) pages() (n int) {
	for _, r := range a.regions {
		n += len(r) / a.page
	}
	return n
}

func (a *actor) do(words []string) (string, error) {
	numbers := make([]int, len(words))
	for i, w := range words {
		numbers[i], _ = strconv.Atoi(w)
	}
	switch words[0] {
	case "hello": // as Firecracker does
		return "ok", a.say(a.message(), a.uffd)
	case "say": // a text, and descriptors that are no userfaultfd
		fds := make([]int, numbers[2])
		return "ok", a.say(words[1], fds...)
	case "uffd": // a text, with the userfaultfd
		return "ok", a.say(words[1], a.uffd)
	case "hangup":
		return "ok", a.conn.Close()
	case "read":
		return strconv.FormatUint(*a.at(numbers[1]), 10), nil
	case "write":
		*a.at(numbers[1]) = uint64(numbers[2])
		return "ok", nil
	case "remove":
		return "ok", a.remove(numbers[1], numbers[2])
	case "touch":
		began, sum := time.Now(), uint64(0)
		for page := range numbers[1] {
			sum += *a.at(page)
		}
		if sum == 0 { // so that the compiler does not leave the reads out
			return "", errors.New("all pages are zero")
		}
		return strconv.FormatInt(time.Since(began).Nanoseconds(), 10), nil
	case "storm":
		return a.storm(numbers[1]), nil
	}
	return "", errors.New("what?")
}

func (a *actor) remove(page, count int) error {
	return unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(a.at(page))), count*a.page), unix.MADV_DONTNEED)
}

func (a *actor) message() string {
	type region struct {
		Base     uint64 `json:"base_host_virt_addr"`
		Size     int    `json:"size"`
		Offset   int    `json:"offset"`
		PageSize int    `json:"page_size"`
		Old      int    `json:"page_size_kib"`
	}
	var regions []region
	offset := 0
	for _, r := range a.regions {
		regions = append(regions, region{base(r), len(r), offset, a.page, a.page})
		offset += len(r)
	}
	text, _ := json.Marshal(regions)
	return string(text)
}

func (a *actor) say(text string, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := a.conn.WriteMsgUnix([]byte(text), rights, nil)
	return err
}

// storm has goroutines read pages and give others back, all at once, and returns the first
// page that has a content which it must not have.
func (a *actor) storm(rounds int) string {
	var wg sync.WaitGroup
	wrong := make(chan string, 100)
	const workers = 8
	share := a.pages() / workers
	for w := range workers {
		wg.Go(func() {
			removed := map[int]bool{}
			random := rand.New(rand.NewPCG(uint64(w), 0))
			for range rounds {
				page := w*share + random.IntN(share)
				if random.IntN(4) == 0 {
					if err := a.remove(page, 1); err != nil {
						wrong <- err.Error()
						return
					}
					removed[page] = true
					continue
				}
				want := uint64(page + 1)
				if removed[page] {
					want = 0
				}
				if got := *a.at(page); got != want {
					wrong <- fmt.Sprintf("page %d has %d, want %d", page, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case text := <-wrong:
		return text
	default:
		return "ok"
	}
}

// vmm is a test's side of an actor.
type vmm struct {
	process *proc.Process
	stdin   *os.File
	stdout  *bufio.Reader
}

// newVMM starts an actor with regions of so many pages, which is connected but has not
// said anything yet.
func newVMM(tb testing.TB, socket string, pageSize int, regions ...int) *vmm {
	tb.Helper()
	return startVMM(tb, proc.Spec{}, socket, pageSize, regions...)
}

// startVMM is newVMM for one that is started as spec says.
func startVMM(tb testing.TB, spec proc.Spec, socket string, pageSize int, regions ...int) *vmm {
	tb.Helper()
	inR, inW, err := os.Pipe()
	must(tb, err)
	outR, outW, err := os.Pipe()
	must(tb, err)
	args := []string{vmmProgram, socket, strconv.Itoa(pageSize)}
	for _, pages := range regions {
		args = append(args, strconv.Itoa(pages*pageSize))
	}
	spec.Path, spec.Args, spec.Dir, spec.Stdin, spec.Stdout, spec.Stderr = "/proc/self/exe", args, "/", inR, outW, os.Stderr
	process, err := proc.Start(spec)
	must(tb, errors.Join(err, inR.Close(), outW.Close()))
	tb.Cleanup(func() { _ = errors.Join(process.Kill(tb.Context()), inW.Close(), outR.Close()) })
	must(tb, outR.SetReadDeadline(time.Now().Add(2*patience)))
	return &vmm{process, inW, bufio.NewReader(outR)}
}

// order sends a line and returns the answer, or io.EOF if the actor has ended instead.
func (v *vmm) order(tb testing.TB, words ...any) (string, error) {
	tb.Helper()
	line := fmt.Sprintln(words...)
	if _, err := v.stdin.WriteString(line); err != nil {
		return "", io.EOF
	}
	answer, err := v.stdout.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		tb.Fatalf("%s: %v", strings.TrimSpace(line), err)
	}
	return strings.TrimSpace(answer), err
}

// want sends a line that must be answered so.
func (v *vmm) want(tb testing.TB, answer string, words ...any) {
	tb.Helper()
	if got, err := v.order(tb, words...); err != nil || got != answer {
		tb.Fatalf("%v: %q, %v, want %q", words, got, err, answer)
	}
}
