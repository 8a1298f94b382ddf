package smartvm_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// patience bounds every wait: it is for a machine that is busy.
const patience = 30 * time.Second

// site is where a test works: a manager with directories of its own, which must
// be empty again in the end, as must the host.
type site struct {
	*smartvm.Manager

	t       *testing.T
	opts    smartvm.Options
	runtime string
	data    string
	files   string // of the test itself
	kernel  string
}

// newSite makes a manager for one test. The test must not be parallel.
func newSite(t *testing.T, opts smartvm.Options) *site {
	t.Helper()
	dir := shortDir(t)
	s := &site{t: t, runtime: cmp.Or(opts.RuntimeDir, filepath.Join(dir, "run")), data: filepath.Join(dir, "data"), files: filepath.Join(dir, "files")}
	for _, d := range []string{s.runtime, filepath.Join(s.data, "staging"), usersIn(s.data), s.files} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.kernel = filepath.Join(s.files, "hello.elf")
	write(t, s.kernel, hello.Image())
	hosttest.Residue(t, s.runtime, s.data)
	t.Cleanup(s.removeSnapshots)
	opts.RuntimeDir = s.runtime
	if opts.DataDir == "" {
		opts.DataDir = s.data
	}
	opts.Jail.LeaseDir = usersIn(s.data)
	opts.Jail.Off = opts.Jail.Off || unjailed(opts.FirecrackerPath)
	s.opts = opts
	s.Manager = s.another()
	return s
}

// removeSnapshots removes what a test has in its store, in which nothing may be half made
// or in use any more.
func (s *site) removeSnapshots() {
	store := filepath.Join(s.data, "snapshots")
	for _, pattern := range []string{".new-*", ".gone-*", "*/uses/*"} {
		if left, err := filepath.Glob(filepath.Join(store, pattern)); err != nil || len(left) > 0 {
			s.t.Errorf("left in the store of snapshots: %q, %v", left, err)
		}
	}
	if err := os.RemoveAll(store); err != nil {
		s.t.Error(err)
	}
}

// usersIn is where tests lease user ids.
func usersIn(data string) string { return filepath.Join(data, "users") }

// needJail is for a test of the jail.
func needJail(t *testing.T) {
	t.Helper()
	hosttest.Need(t, hosttest.Root)
	if os.Getenv("SMARTVM_TEST_JAIL") == "0" {
		t.Skip("is about the jail, which SMARTVM_TEST_JAIL=0 switches off")
	}
}

// unjailed reports whether a test runs this Firecracker without a jail: a fake has
// no jailer.
func unjailed(firecracker string) bool {
	_, fake := played(firecracker)
	return fake || os.Getenv("SMARTVM_TEST_JAIL") == "0"
}

// bootSite is newSite for a test that boots microVMs.
func bootSite(t *testing.T) *site {
	t.Helper()
	return bootSiteWith(t, smartvm.Options{})
}

func bootSiteWith(t *testing.T, opts smartvm.Options) *site {
	t.Helper()
	opts.FirecrackerPath = hosttest.Boot(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("needs an x86_64 machine: the hello guest is built for no other")
	}
	return newSite(t, opts)
}

// fakeSite is newSite for a test with a fake Firecracker. It needs no boot, but
// a start begins with a look at /dev/kvm.
func fakeSite(t *testing.T, f fake) *site {
	t.Helper()
	hosttest.Need(t, hosttest.KVM)
	return newSite(t, smartvm.Options{FirecrackerPath: f.install(t)})
}

// another returns one more manager of the same directories.
func (s *site) another() *smartvm.Manager {
	s.t.Helper()
	opts := s.opts
	opts.Jail.Off = opts.Jail.Off || unjailed(opts.FirecrackerPath)
	m, err := smartvm.New(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx := context.WithoutCancel(s.t.Context())
		for _, id := range m.VMs() { // also those that it let go, which its own clean-up leaves alone
			if vm, ok := m.VM(id); ok {
				if err := vm.Cleanup(ctx); err != nil && !errors.Is(err, smartvm.VMOwned) {
					s.t.Errorf("clean up %s: %v", id, err)
				}
			}
		}
		if err := m.Cleanup(ctx); err != nil {
			s.t.Errorf("clean up: %v", err)
		}
		if err := m.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return m
}

// config boots the hello guest with these words.
func (s *site) config(words ...string) vmconfig.Config {
	return vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: s.kernel, BootArgs: strings.Join(words, " ")},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 16},
	}
}

func (s *site) create(id string, config vmconfig.Config) *smartvm.VM {
	s.t.Helper()
	vm, err := s.CreateVM(id, config)
	if err != nil {
		s.t.Fatal(err)
	}
	return vm
}

// boot starts a VM with the hello guest.
func (s *site) boot(words ...string) *smartvm.VM {
	s.t.Helper()
	return s.bootConfig(s.config(words...))
}

func (s *site) bootConfig(config vmconfig.Config) *smartvm.VM {
	s.t.Helper()
	vm := s.create("", config)
	if err := vm.Start(patient(s.t)); err != nil {
		s.t.Fatal(err)
	}
	return vm
}

// pid returns the process of a VM's Firecracker.
func (s *site) pid(vm *smartvm.VM) int {
	s.t.Helper()
	entry, err := s.Inspect(patient(s.t), vm.ID())
	if err != nil || entry.PID == 0 {
		s.t.Fatalf("no process: %+v, %v", entry, err)
	}
	return entry.PID
}

// patient returns a context for one call.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func codeOf(err error) smartvm.Code { return errcode.Of(err, "") }

// wantCode demands a code, and returns the error's outermost [smartvm.Error].
func wantCode(t *testing.T, err error, want smartvm.Code) *smartvm.Error {
	t.Helper()
	if codeOf(err) != want {
		t.Fatalf("got %v (%s), want %s", err, codeOf(err), want)
	}
	e, _ := errors.AsType[*smartvm.Error](err)
	return e
}

// hintOf returns the first hint in an error's tree.
func hintOf(err error) string {
	for _, e := range errorsIn(err) {
		if e.Hint != "" {
			return e.Hint
		}
	}
	return ""
}

func wantState(t *testing.T, vm *smartvm.VM, want smartvm.State) {
	t.Helper()
	if got := vm.State(); got != want {
		t.Errorf("state is %s, want %s", got, want)
	}
}

// ended waits for the end of a VM.
func ended(t *testing.T, vm *smartvm.VM) *smartvm.Ended {
	t.Helper()
	end, err := vm.Wait(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// until waits for something that nothing reports.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("in vain waited for: ", what)
		}
	}
}

// shortDir is a temporary directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm") //nolint:usetesting // t.TempDir holds the name of the test, which is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// image makes a disk image in the test's folder: a line of text, then a hole.
func (s *site) image(name, text string, size int64) string {
	s.t.Helper()
	path := filepath.Join(s.files, name)
	write(s.t, path, fmt.Appendf(nil, "%s\n", text))
	if err := os.Truncate(path, size); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// errorsIn returns every [smartvm.Error] of an error's tree, outermost first.
func errorsIn(err error) (all []*smartvm.Error) {
	switch e := err.(type) { //nolint:errorlint // this is the walk through the tree
	case nil:
	case *smartvm.Error:
		all = append([]*smartvm.Error{e}, errorsIn(e.Err)...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, errorsIn(inner)...)
		}
	default:
		all = errorsIn(errors.Unwrap(err))
	}
	return all
}
