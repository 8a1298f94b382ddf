// Package box is the lab's emulated machine, seen from outside: QEMU without any
// acceleration, a virtiofsd for each directory that is shared, and a connection to
// the machine's first process.
package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/lab/internal/link"
)

// Options say what machine it is. Vmlinux, Initramfs and Settings are required.
type Options struct {
	Vmlinux   string // the path of an uncompressed kernel with a PVH entry
	Initramfs string // the path of an archive whose /init is labinit
	// Settings are completed by the tags of Shares.
	Settings link.Settings
	Shares   []Share
	MemMiB   int // default 4096, of which only what is used counts
	CPUs     int // default 1; more are emulated by as many threads
	// BootTimeout bounds the wait for the machine. Default 2 minutes.
	BootTimeout time.Duration
}

// Share is a directory of this host that the machine sees.
type Share struct {
	Host, Guest string // absolute paths
	Writable    bool
	// Constant says that nobody changes its files as long as the machine runs, so that
	// it may keep in memory what it has read once.
	Constant bool
}

// Defaults of Options.
const (
	DefaultMemMiB      = 4096
	DefaultCPUs        = 1
	DefaultBootTimeout = 2 * time.Minute
)

// Machine is one that runs. Its methods are for one goroutine.
type Machine struct {
	conn *link.Conn
	port *os.File
	dir  string   // sockets and logs, until the machine is up
	log  *logTail // what the emulator and the kernel say

	mu       sync.Mutex
	sharers  []*proc.Process // each a virtiofsd
	emulator *proc.Process
	killed   bool // nothing may be started any more

	workers sync.WaitGroup // they read what the processes say, and wake the machine

	// Close ends the machine and everything that belongs to it. It can be repeated.
	Close func() error
	// BootSeconds is how long the machine's clock says that its boot took.
	BootSeconds float64
}

// Start boots a machine and waits until it is ready for commands. All its processes
// are killed by the kernel when the calling thread ends, so a caller locks itself
// to one that lasts. When ctx ends, the machine does too, and whatever waits for it
// returns an error.
func Start(ctx context.Context, o Options) (*Machine, error) {
	if o.MemMiB == 0 {
		o.MemMiB = DefaultMemMiB
	}
	if o.CPUs == 0 {
		o.CPUs = DefaultCPUs
	}
	if o.BootTimeout == 0 {
		o.BootTimeout = DefaultBootTimeout
	}
	dir, err := os.MkdirTemp("", "smartvm-lab-")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, log: new(logTail)}
	stop := context.AfterFunc(ctx, m.kill)
	m.Close = sync.OnceValue(func() error {
		stop()
		return m.end()
	})
	if err := m.boot(o); err != nil {
		err = m.explain(err)
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the machine's end is no news
		}
		return nil, err
	}
	return m, nil
}

func (m *Machine) boot(o Options) error {
	args := emulatorArgs(o)
	for i, share := range o.Shares {
		socket := filepath.Join(m.dir, fmt.Sprintf("share%d", i))
		if err := m.share(share, socket); err != nil {
			return err
		}
		tag := filepath.Base(socket)
		args = append(args, "-chardev", "socket,id="+tag+",path="+socket, "-device", "vhost-user-fs-pci,chardev="+tag+",tag="+tag)
		o.Settings.Shares = append(o.Settings.Shares, link.Share{Tag: tag, Path: share.Guest, Writable: share.Writable})
	}
	if err := m.emulate(args); err != nil {
		return err
	}
	timer := time.AfterFunc(o.BootTimeout, m.kill)
	defer timer.Stop()
	var hello link.Greeting
	if err := m.conn.Expect(link.Hello, &hello); err != nil {
		return err
	}
	// Everybody is connected, so that from now on nothing is left even if we are killed.
	if err := os.RemoveAll(m.dir); err != nil {
		return err
	}
	m.BootSeconds = hello.UptimeSeconds
	if err := m.conn.SendJSON(link.Setup, o.Settings); err != nil {
		return err
	}
	if err := m.conn.Expect(link.Ready, nil); err != nil {
		return err
	}
	m.workers.Go(m.wake)
	return nil
}

// wakeInterval bounds how long a lost interrupt may hold up the machine.
const wakeInterval = 200 * time.Millisecond

// wake interrupts the machine now and then, until it has ended.
//
// QEMU's emulation of nested SVM now and then loses an interrupt: do_vmexit
// (target/i386/tcg, as of 7.2) clears a bit of interrupt_request without the lock, and
// with it one that the thread of the timers sets at that moment. The local APIC goes on
// to say that its timer's interrupt is pending, the processor stays halted, and without
// a timer nothing ever happens, until any other interrupt makes it look. That took from
// one minute to nine; a key that was pressed in a stuck machine ended it at once.
func (m *Machine) wake() {
	ticker := time.NewTicker(wakeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if m.conn.Send(link.Wake, nil) != nil {
				return
			}
		case <-m.emulator.Done():
			return
		}
	}
}

// emulatorArgs are those that do not depend on shares. What is here was measured;
// see docs/lab.md.
func emulatorArgs(o Options) []string {
	thread := "single"
	if o.CPUs > 1 {
		thread = "multi"
	}
	return []string{
		"-name", "smartvm-lab", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-M", "q35,memory-backend=memory", "-accel", "tcg,thread=" + thread,
		// No erms: string moves are emulated byte by byte.
		"-cpu", "max,-erms,-la57,-pku", "-smp", fmt.Sprint(o.CPUs), "-m", fmt.Sprint(o.MemMiB),
		// virtiofsd reads and writes the machine's memory.
		"-object", fmt.Sprintf("memory-backend-memfd,id=memory,size=%dM,share=on", o.MemMiB),
		"-rtc", "base=utc,clock=host",
		"-kernel", o.Vmlinux, "-initrd", o.Initramfs, "-append", kernelArgs,
		"-chardev", "file,id=log,path=/dev/fd/1", "-serial", "chardev:log",
		"-chardev", "socket,id=link,fd=0", "-device", "virtio-serial-pci,max_ports=2",
		"-device", "virtserialport,chardev=link,nr=1,name=" + link.PortName,
	}
}

// kernelArgs are for a boot that is short and quiet, and ends in a panic rather
// than in a reboot. A kernel in an emulator needs no mitigations and no self-tests.
const kernelArgs = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on " +
	"rcupdate.rcu_expedited=1 nokaslr audit=0 selinux=0 apparmor=0 cryptomgr.notests"

// emulate starts QEMU. Its standard input is the connection to the machine.
func (m *Machine) emulate(args []string) error {
	program, err := proc.Find(qemu, qemuPackage)
	if err != nil {
		return err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	m.port, m.conn = ours, link.New(ours)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.killed {
		return errors.New("it was ended before it began")
	}
	m.emulator, err = m.start(program, args, theirs)
	return err
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that a close ends a read
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}

// start starts a process that dies with us, and collects what it says.
func (m *Machine) start(program string, args []string, stdin *os.File) (*proc.Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p, err := proc.Start(proc.Spec{
		Path: program, Args: args, Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: "/", Stdin: stdin, Stdout: w, Stderr: w, Tied: true,
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	m.workers.Go(func() { // until the process ends
		_, _ = io.Copy(m.log, r)
		_ = r.Close()
	})
	return p, nil
}

// kill ends the emulator, so that whoever reads from it gets an error.
func (m *Machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = true
	if m.emulator != nil {
		_ = m.emulator.Signal(unix.SIGKILL)
	}
}

// explain ends a machine that did not come up or broke down, and adds what was said
// to the error about it.
func (m *Machine) explain(err error) error {
	err = errors.Join(err, m.Close())
	if text := m.log.String(); text != "" {
		return fmt.Errorf("the machine failed: %w; it says:\n%s", err, strings.TrimRight(text, "\n"))
	}
	return fmt.Errorf("the machine failed: %w", err)
}

// parting is how long a virtiofsd may take to see that the emulator has gone.
const parting = 2 * time.Second

func (m *Machine) end() error {
	m.kill()
	if m.emulator != nil {
		<-m.emulator.Done()
	}
	// One that is killed leaves a child to whoever adopts orphans here.
	timer := time.AfterFunc(parting, m.killSharers)
	defer timer.Stop()
	if m.emulator == nil {
		m.killSharers() // they wait for somebody who never comes
	}
	for _, p := range m.sharers {
		<-p.Done()
	}
	m.workers.Wait()
	err := os.RemoveAll(m.dir)
	if m.port != nil {
		err = errors.Join(err, m.port.Close())
	}
	return err
}

func (m *Machine) killSharers() {
	for _, p := range m.sharers {
		_ = p.Signal(unix.SIGKILL)
	}
}
