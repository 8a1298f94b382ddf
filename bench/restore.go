package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// The family of snapshots: VMs that go on where one was, one by one and many at once.
const (
	restoreFamily = "restore"
	armRawLoad    = "raw-load"
	armRestore    = "smartvm-restore"
	armJailedLoad = "smartvm-restore-jailed"
	clonesPart    = "clones"

	armRawJailedLoad = "raw-load-jailed"
)

// Snapshots of guests that count, by how often. One that goes on by itself is to be heard
// soon. Of a hundred each that says something takes time from the next, and more from
// those whose words are kept than from those whose pipe is full; and to wait for one that
// says something seldom is to measure when its snapshot was taken.
const (
	warm = "warm"
	calm = "calm"
)

var paces = map[string]time.Duration{warm: time.Millisecond, calm: time.Second}

// countedConfig is a VM whose guest counts, with a disk of its own.
func (l *lab) countedConfig(pace time.Duration) vmconfig.Config {
	c := l.configWith(l.openKernel)
	c.BootSource.BootArgs = hello.CountEach(pace)
	c.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: l.path(diskName)}}}
	return c
}

const (
	diskName     = "disk"
	stateSuffix  = ".state"
	memorySuffix = ".memory"
)

func (l *lab) path(name string) string { return filepath.Join(l.memory, name) }

// openDisk makes the disk that is in the snapshots.
func (l *lab) openDisk() error {
	return os.WriteFile(l.path(diskName), make([]byte, mib), 0o644) //nolint:gosec // see share
}

// share lets the users of raw jails read the files of a snapshot.
func (l *lab) share(snapshot string) error {
	const all = 0o644
	return errors.Join(os.Chmod(l.path(snapshot+stateSuffix), all), os.Chmod(l.path(snapshot+memorySuffix), all))
}

// openSnapshots takes the snapshots.
func (l *lab) openSnapshots(ctx context.Context) error {
	if err := l.openDisk(); err != nil {
		return err
	}
	for name, pace := range paces {
		if _, err := l.openSnapshot(ctx, name, l.countedConfig(pace)); err != nil {
			return err
		}
		if err := l.share(name); err != nil {
			return err
		}
	}
	return nil
}

// openSnapshot takes a snapshot in the store, and the same by hand. It returns the name of
// the TAP that is in it, if the VM has an interface.
func (l *lab) openSnapshot(ctx context.Context, name string, config vmconfig.Config) (tap string, err error) {
	config.Drives[0].Ephemeral = new(false)
	vm, err := l.manager.CreateVM("", config)
	if err != nil {
		return "", err
	}
	if err := vm.Start(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, discard(ctx, l.manager, vm)) }()
	for _, t := range vm.TAPs() {
		tap = t.Name
	}
	if _, err := vm.Snapshot(ctx, name, smartvm.SnapshotOptions{KeepPaused: true}); err != nil {
		return "", err
	}
	return tap, vm.CreateSnapshot(ctx, firecracker.SnapshotCreateParams{SnapshotPath: l.path(name + stateSuffix), MemFilePath: l.path(name + memorySuffix)})
}

func restoreArms() []arm {
	return []arm{
		{armRawLoad, "spawn with --api-sock; await socket; load and resume; directory, links, log file and inotify made before; the disk is shared", rawLoad},
		{armRestore, "Restore, OpenConsole, everything measured; the disk is copied", bySnapshot(warm, func(l *lab) *smartvm.Manager { return l.manager })},
		{armJailedLoad, "the same in a jail", bySnapshot(warm, func(l *lab) *smartvm.Manager { return l.jailing })},
	}
}

// prepareLoad makes what a snapshot of smartvm's expects in the working directory, with
// the disk of all.
func (v *rawVM) prepareLoad() error {
	return errors.Join(v.prepareClone(), os.Symlink(v.lab.path(diskName), v.path(insideDisk)))
}

// prepareClone leaves the disk out, of which a clone is to have a copy of its own.
func (v *rawVM) prepareClone() error {
	if err := v.prepare(); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(v.path("drive"), dirMode), v.watch())
}

// insideDisk is where the guest's disk is in Firecracker's working directory.
const insideDisk = "drive/disk"

// prepareAwaited makes that socket known as soon as there is one.
func (v *rawVM) prepareAwaited() error {
	if err := v.prepareLoad(); err != nil {
		return err
	}
	_, err := unix.InotifyAddWatch(v.inotify, v.dir, unix.IN_CREATE)
	return os.NewSyscallError("inotify_add_watch", err)
}

// await connects to the socket as soon as there is one.
func (v *rawVM) await(path string) (int, error) { return connect(path, v.inotify) }

// open starts Firecracker and has it load a snapshot.
func (v *rawVM) open(snapshot string, connect func(path string) (int, error), resume bool) error {
	v.workDir = v.dir
	if err := v.spawn(); err != nil {
		return err
	}
	return v.ask(v.lab.path(snapshot+stateSuffix), v.lab.path(snapshot+memorySuffix), connect, resume)
}

// ask has a Firecracker that was started load a snapshot, by its paths of the files.
func (v *rawVM) ask(state, memory string, connect func(path string) (int, error), resume bool) error {
	conn, err := connect(v.path(socketName))
	if err != nil {
		return err
	}
	body := `{"snapshot_path":` + strconv.Quote(state) + `,"mem_backend":{"backend_type":"File","backend_path":` +
		strconv.Quote(memory) + `},"resume_vm":` + strconv.FormatBool(resume) + `}`
	return errors.Join(exchange(conn, 1, request("/snapshot/load", body)), unix.Close(conn))
}

// load has a guest go on, and waits until it says something.
func (v *rawVM) load(snapshot string, connect func(path string) (int, error), started func()) error {
	if err := v.open(snapshot, connect, true); err != nil {
		return err
	}
	started()
	return v.hear()
}

func (v *rawVM) hear() error {
	var buf [1]byte
	for {
		n, err := unix.Read(v.out, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return fmt.Errorf("firecracker ended before its guest spoke: %w", errors.Join(err, io.ErrUnexpectedEOF))
		default:
			return nil
		}
	}
}

func rawLoad(_ context.Context, l *lab) (s sample, err error) {
	v := l.newRaw()
	defer func() { err = errors.Join(err, v.discard()) }()
	if err := v.prepareAwaited(); err != nil {
		return s, err
	}
	began := time.Now()
	done := s.begin()
	err = v.load(warm, v.await, func() { s.started = time.Since(began) })
	done()
	return s, err
}

func bySnapshot(name string, manager func(*lab) *smartvm.Manager) func(context.Context, *lab) (sample, error) {
	return func(ctx context.Context, l *lab) (s sample, err error) {
		m := manager(l)
		began := time.Now()
		done := s.begin()
		vm, err := m.Restore(ctx, name, smartvm.RestoreOptions{})
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, discard(ctx, m, vm)) }()
		s.started = time.Since(began)
		err = hear(ctx, vm)
		done()
		return s, err
	}
}

// hear waits for a byte of the guest.
func hear(ctx context.Context, vm *smartvm.VM) error {
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return err
	}
	_, err = io.ReadFull(console, make([]byte, 1))
	return errors.Join(err, console.Close())
}

// cloneArms make many VMs of one snapshot.
func cloneArms() []fleetArm {
	const kill = -1 // skips a step of Stop
	clones := func(manager func(*lab) *smartvm.Manager) func(*lab) fleet {
		return func(l *lab) fleet {
			return &cloneFleet{smartFleet{lab: l, manager: manager(l), opts: smartvm.StopOptions{Grace: kill, TermGrace: kill}}}
		}
	}
	return []fleetArm{
		{armRawLoad, "a copy of the disk by copy_file_range, then as one of them, but looking for the sockets, until it goes on; the rest is made before", func(l *lab) fleet { return &rawClones{rawFleet{lab: l}} }},
		{armRawJailedLoad, "the same by the jailer, in jails that are made before, with hard links of state and memory", func(l *lab) fleet {
			return &rawJailedClones{rawCrowd{lab: l}}
		}},
		{armRestore, "Restore", clones(func(l *lab) *smartvm.Manager { return l.manager })},
		{armJailedLoad, "the same in jails", clones(func(l *lab) *smartvm.Manager { return l.jailing })},
	}
}

type cloneFleet struct{ smartFleet }

func (f *cloneFleet) boot(ctx context.Context, _ int) error {
	_, err := f.manager.Restore(ctx, calm, smartvm.RestoreOptions{})
	return err
}

type rawClones struct{ rawFleet }

func (f *rawClones) prepare(n int) error {
	for range n {
		v := f.lab.newRaw()
		f.vms = append(f.vms, v)
		if err := v.prepareClone(); err != nil {
			return err
		}
	}
	return nil
}

func (f *rawClones) boot(_ context.Context, i int) error {
	if err := cloneDisk(f.lab.path(diskName), f.vms[i].path(insideDisk)); err != nil {
		return err
	}
	return f.vms[i].open(calm, connectLooking, true)
}

// rawJailedClones are the least that clones in jails can be: what the jailer itself takes.
type rawJailedClones struct{ rawCrowd }

func (c *rawJailedClones) prepare(n int) error {
	if err := c.rawCrowd.prepare(n); err != nil {
		return err
	}
	for _, v := range c.vms {
		if err := v.prepareLoad(); err != nil {
			return err
		}
	}
	return nil
}

func (c *rawJailedClones) boot(_ context.Context, i int) error {
	v := c.vms[i]
	disk := v.path(insideDisk)
	if err := errors.Join(cloneDisk(c.lab.path(diskName), disk), os.Chown(disk, v.uid, v.uid)); err != nil {
		return err
	}
	if err := v.jailer(); err != nil {
		return err
	}
	return v.ask(calm+stateSuffix, calm+memorySuffix, connectLooking, true)
}
