package pager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// server fills the memory of one Firecracker. All of it belongs to the goroutine that runs
// it.
type server struct {
	uffd   uffd
	wakeup int // an eventfd: there is a reason to stop
	layout layout
	memory *memory
	zeros  []byte // a huge page of them, for who has such pages

	filled  pageSet // once filled, whatever happened later
	removed pageSet // given back by the guest, and so zeros from then on
	wanted  []uint64
	ahead   []span // what is to be fetched without being asked for
	events  [64]message

	log    *slog.Logger
	quiet  time.Duration
	set    *setFile  // nil when there is none
	record *recorder // nil when nothing is (or is any more) recorded
	began  time.Time // of the recording: the first page was asked for
	last   time.Time // when the last one was

	faults, fetched, zeroed uint64 // pages
}

func newServer(o Options, descriptor uffd, places layout, mem *memory) (_ *server, err error) {
	s := &server{
		uffd: descriptor, wakeup: -1, layout: places, memory: mem, log: o.Logger, quiet: o.Quiet,
		filled: newPageSet(places.pages), removed: newPageSet(places.pages),
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if places.pageSize == hugePage {
		s.zeros, err = unix.Mmap(-1, 0, hugePage, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
	}
	if o.WorkingSet != "" {
		s.recall(o.WorkingSet)
	}
	return s, nil
}

// recall reads the working set. To go without is slower, and nothing else.
func (s *server) recall(path string) {
	var err error
	if s.set, err = openSetFile(path); err != nil {
		s.log.Warn("no working set can be kept", slog.String("path", path), slog.Any("err", err))
		return
	}
	s.ahead, err = s.set.read(s.memory.identity(s.layout.pageSize))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a working set is of no use", slog.String("path", path), slog.Any("err", err))
	}
	s.record = newRecorder(s.layout.pages, s.ahead)
}

func (s *server) close() {
	if s.set != nil {
		_ = s.set.close()
	}
	if s.zeros != nil {
		_ = unix.Munmap(s.zeros)
	}
	if s.wakeup >= 0 {
		_ = unix.Close(s.wakeup)
	}
}

// run serves until ctx ends, which is no error.
func (s *server) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		<-ctx.Done()
		_, _ = unix.Write(s.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it can't be full
	})
	ahead := slices.Clone(s.ahead)
	helpers.Go(func() { s.prepare(ctx, ahead) })
	err := s.loop(ctx)
	cancel()
	helpers.Wait()
	s.learn()
	s.log.Info("memory served", slog.Uint64("faults", s.faults), slog.Uint64("prefetched", s.fetched), slog.Uint64("zeroed", s.zeroed))
	return err
}

// prepare goes ahead of the server, which must not wait for the disk while pages are asked
// for.
func (s *server) prepare(ctx context.Context, rows []span) {
	for _, row := range rows {
		for first := row.first; first < row.first+row.count && ctx.Err() == nil; first += s.batch() {
			count := min(s.batch(), row.first+row.count-first)
			s.memory.prepare(first*s.layout.pageSize, count*s.layout.pageSize)
		}
	}
}

// fetching is how much is fetched at once when nobody asks for it: whoever asks meanwhile
// waits that much longer, some 50 microseconds.
const fetching = 256 << 10

// batch is how many pages that are.
func (s *server) batch() uint64 { return max(1, fetching/s.layout.pageSize) }

func (s *server) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.read(); err != nil {
			return err
		}
		progress, err := s.answer()
		if err == nil && len(s.wanted) == 0 {
			// Also between two questions: a guest that asks without a pause asks for the
			// very pages that are to be fetched.
			var got bool
			got, err = s.fetch()
			progress = progress || got
		}
		if err == nil && (!progress || s.idle()) {
			err = s.wait()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// idle reports whether there is nothing to do but what will be asked for.
func (s *server) idle() bool { return len(s.wanted) == 0 && len(s.ahead) == 0 }

// read takes all events there are. What was given back is noted before anything is filled.
func (s *server) read() error {
	for {
		n, err := s.uffd.read(s.events[:])
		if err != nil {
			return err
		}
		for i := range s.events[:n] {
			if err := s.take(&s.events[i]); err != nil {
				return err
			}
		}
		if n < len(s.events) {
			return nil
		}
	}
}

func (s *server) take(m *message) error {
	switch m.event() {
	case eventFault:
		flags, address := m.word(0), m.word(1)
		page, ours := s.layout.page(address)
		if !ours || flags&flagsPresent != 0 {
			return fmt.Errorf("firecracker asks for what is none of its guest's memory: address %#x, flags %#x", address, flags)
		}
		s.wanted = append(s.wanted, page)
		return nil
	case eventRemove:
		for _, pages := range s.layout.inside(m.word(0), m.word(1)) {
			s.removed.add(pages)
		}
		return nil
	case eventFork:
		_ = unix.Close(int(uint32(m.word(0)))) // a descriptor that has come with it
	}
	return fmt.Errorf("firecracker's memory has changed in a way that it does not say it would: event %#x", m.event())
}

// answer fills the pages that are waited for, and reports whether it has filled any.
func (s *server) answer() (bool, error) {
	done := 0
	for _, page := range s.wanted {
		n, err := s.fill(span{page, 1})
		if err != nil {
			return false, err
		}
		if n == 0 {
			break // there are events to be read first
		}
		s.faults++
		s.note(page)
		done++
	}
	if done == 0 {
		return false, nil
	}
	s.wanted = append(s.wanted[:0], s.wanted[done:]...)
	return true, s.memory.check()
}

// fetch fills some pages that nobody waits for, and reports whether it has got on.
func (s *server) fetch() (bool, error) {
	for len(s.ahead) > 0 {
		row := &s.ahead[0]
		if row.count == 0 {
			s.ahead = s.ahead[1:]
			continue
		}
		if s.filled.has(row.first) || s.removed.has(row.first) {
			row.first++
			row.count--
			continue
		}
		n := uint64(1)
		for n < min(row.count, s.batch()) && !s.filled.has(row.first+n) && !s.removed.has(row.first+n) {
			n++
		}
		n, err := s.fill(span{row.first, n})
		if n == 0 || err != nil {
			return false, err
		}
		row.first += n
		row.count -= n
		s.fetched += n
		return true, s.memory.check()
	}
	return false, nil
}

// fill fills a row of pages that are alike: removed, or not. It returns how many it has
// dealt with; none means that there are events to be read first.
func (s *server) fill(pages span) (uint64, error) {
	size := s.layout.pageSize
	address, row := s.layout.address(pages.first)
	length := min(pages.count, row) * size
	var done uint64
	var err error
	switch {
	case !s.removed.has(pages.first):
		done, err = s.uffd.fill(address, s.memory.at(pages.first*size), length)
	case s.zeros == nil:
		done, err = s.uffd.zero(address, length)
	default:
		length = size
		done, err = s.uffd.fill(address, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.zeros)))), length)
	}
	switch {
	case err == nil:
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOENT):
		// It is filled, or no longer in the guest's memory. Whoever waits shall look again.
		done, err = size, s.uffd.wake(address, size)
	case errors.Is(err, unix.ESRCH):
		return pages.count, nil // the process is about to end
	case errors.Is(err, unix.EFAULT):
		err = errors.Join(fmt.Errorf("the memory file can't be read at byte %d", pages.first*size), s.memory.check())
	case errors.Is(err, unix.ENOMEM) && size == hugePage:
		err = errors.New("the host has no huge page left")
	default:
		err = fmt.Errorf("fill the page at %#x: %w", address, err)
	}
	if err != nil {
		return 0, err
	}
	s.filled.add(span{pages.first, done / size})
	return done / size, nil
}

// again is how soon a page is tried again that could not be filled because of an event that
// can't be read yet: the kernel forbids the one a moment before it has the other.
const again = time.Millisecond

// wait waits for something to do.
func (s *server) wait() error {
	timeout := -1
	switch {
	case !s.idle():
		timeout = int(again.Milliseconds())
	case s.record != nil && !s.began.IsZero():
		if timeout = int(time.Until(s.settled()).Milliseconds()) + 1; timeout <= 0 {
			s.learn()
			return nil
		}
	}
	fds := []unix.PollFd{{Fd: int32(s.uffd), Events: unix.POLLIN}, {Fd: int32(s.wakeup), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, timeout); err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("poll", err)
	}
	if fds[0].Revents&^unix.POLLIN != 0 { // it would block us: see userfaultfd_poll in the kernel
		return errors.New("firecracker has changed the mode of its userfaultfd")
	}
	return nil
}

// note records a page that was asked for.
func (s *server) note(page uint64) {
	if s.record == nil {
		return
	}
	s.last = time.Now()
	if s.began.IsZero() {
		s.began = s.last
	}
	if s.last.Before(s.settled()) {
		s.record.add(page)
	} else {
		s.learn()
	}
}

// settled returns when the working set is complete.
func (s *server) settled() time.Time {
	quiet, end := s.last.Add(s.quiet), s.began.Add(5*s.quiet)
	if end.Before(quiet) {
		return end
	}
	return quiet
}

// learn writes the working set, once.
func (s *server) learn() {
	if s.record == nil {
		return
	}
	record := s.record
	s.record = nil
	if !record.news() {
		return
	}
	if err := s.set.write(s.memory.identity(s.layout.pageSize), record.rows); err != nil {
		s.log.Warn("the working set could not be written", slog.Any("err", err))
		return
	}
	s.log.Info("working set written", slog.Uint64("pages", record.count), slog.Uint64("known", record.given))
}
