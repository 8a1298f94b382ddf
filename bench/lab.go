package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// What every VM of this program has. Its log is written at the level that
// smartvm chooses, so that no arm writes more than another.
const (
	vcpus    = 1
	memMiB   = 128
	logLevel = "Warning"
	fileMode = 0o600
	dirMode  = 0o700
)

// lab is what all arms share.
type lab struct {
	binary   image.Binary
	memory   string           // directory on a tmpfs
	disk     string           // directory on a disk
	kernel   string           // that only this user may read
	manager  *smartvm.Manager // without jails
	random   *rand.Rand       // of the order and the gaps; for one goroutine
	children children
	made     int            // raw VMs so far
	cleanup  []func() error // newest last

	// What the arms with a jail have besides.
	jailer     image.Binary
	jailing    *smartvm.Manager
	openKernel string
}

func openLab(ctx context.Context, opts *options) (*lab, error) {
	l := &lab{random: newRandom(opts.seed)}
	err := l.open(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	// A read of a pipe ends when the process at its other end does.
	stop := context.AfterFunc(ctx, l.children.killAll)
	l.cleanup = append(l.cleanup, func() error { stop(); return nil })
	return l, nil
}

func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // order, gaps and resampling are no secrets
}

func (l *lab) open(ctx context.Context, opts *options) (err error) {
	if l.memory, err = l.tempDir(opts.memory); err != nil {
		return err
	}
	if l.disk, err = l.tempDir(opts.disk); err != nil {
		return err
	}
	l.kernel = filepath.Join(l.memory, "kernel")
	if err := os.WriteFile(l.kernel, hello.Image(), fileMode); err != nil {
		return err
	}
	if l.manager, err = l.newManager("run", opts.firecracker, smartvm.JailOptions{Off: true}); err != nil {
		return err
	}
	l.cleanup = append(l.cleanup, l.closeManager)
	// The manager asks a binary for its version once in its life, not once for each VM.
	l.binary, err = l.manager.EnsureBinary(ctx)
	return err
}

// newManager makes a manager whose VMs are in a directory of that name.
func (l *lab) newManager(runtime, firecrackerPath string, jail smartvm.JailOptions) (*smartvm.Manager, error) {
	return smartvm.New(smartvm.Options{
		DataDir: filepath.Join(l.memory, "data"), RuntimeDir: filepath.Join(l.memory, runtime), FirecrackerPath: firecrackerPath,
		ReuseAddresses: true, Jail: jail,
	})
}

func (l *lab) tempDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "smartvm-bench-")
	if err == nil {
		l.cleanup = append(l.cleanup, func() error { return os.RemoveAll(dir) })
	}
	return dir, err
}

// cleanupTimeout bounds what is done after the last measurement, or an interrupt.
const cleanupTimeout = time.Minute

// networksName is the directory of the manager's networks. It stays: it says whose
// they are.
const networksName = ".networks"

func (l *lab) closeManager() error { return closeManager(l.manager) }

// closeManager undoes what a manager has made, and reports what it forgot.
func closeManager(m *smartvm.Manager) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	err := m.Cleanup(ctx)
	left, lerr := os.ReadDir(m.RuntimeDir())
	for _, entry := range left {
		if entry.Name() != networksName {
			err = errors.Join(err, fmt.Errorf("smartvm left %s", entry.Name()))
		}
	}
	networks, nerr := hostnet.List(ctx, m.RuntimeDir())
	for i := range networks {
		err = errors.Join(err, fmt.Errorf("smartvm left the network %s", networks[i].Bridge))
	}
	return errors.Join(err, lerr, nerr, m.Close())
}

// close undoes everything, and reports what the arms forgot.
func (l *lab) close() error {
	l.children.killAll()
	var errs []error
	for _, undo := range slices.Backward(l.cleanup) {
		errs = append(errs, undo())
	}
	l.cleanup = nil
	return errors.Join(append(errs, noChildren())...)
}

// noChildren checks that every process that was started has been reaped.
func noChildren() error {
	const file = "/proc/thread-self/children"
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return nil // a kernel without the file can't tell
	}
	return errors.Join(err, fmt.Errorf("processes are left: %s", data))
}

// config is the VM as a user of the library describes it.
func (l *lab) config() vmconfig.Config { return l.configWith(l.kernel) }

func (l *lab) configWith(kernel string) vmconfig.Config {
	return vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: kernel, BootArgs: hello.Mark},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: vcpus, MemSizeMiB: memMiB},
	}
}

// file is the same VM as a --config-file; with an interface, unless tap is empty.
func (l *lab) file(tap string) []byte { return l.fileWith(l.kernel, tap) }

func (l *lab) fileWith(kernel, tap string) []byte {
	interfaces := ""
	if tap != "" {
		interfaces = `,"network-interfaces":[{"iface_id":"eth0","host_dev_name":"` + tap + `"}]`
	}
	return []byte(`{"boot-source":` + bootSource(kernel) + `,"machine-config":` + machineConfig() + `,"drives":[]` + interfaces + `}`)
}

func bootSource(kernel string) string {
	return `{"kernel_image_path":` + strconv.Quote(kernel) + `,"boot_args":"` + hello.Mark + `"}`
}

func machineConfig() string {
	return `{"vcpu_count":` + strconv.Itoa(vcpus) + `,"mem_size_mib":` + strconv.Itoa(memMiB) + `}`
}
