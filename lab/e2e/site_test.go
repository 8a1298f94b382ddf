// Package e2e_test proves what smartvm promises with real Linux guests. It runs in
// the lab, or on a host whose /dev/kvm boots Linux: make lab-test. Without the lab's
// kit of guests each test is skipped.
//
// A test takes a [site], boots guests on it and looks at what they see. Whatever is
// left on the host fails it.
package e2e_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/lab/internal/claim"
	"github.com/smartvm/smartvm/vmconfig"
)

// patience is for events that come within seconds: it only bounds a test that fails.
const patience = 5 * time.Minute

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a manager with directories of the test's own, and a kit of guests.
type site struct {
	t       *testing.T
	kit     guest.Kit
	manager *smartvm.Manager
}

// newSite needs what guests need, and wants nothing to be left when the test ends. A
// runtime directory may be given: it has to be a short path.
func newSite(t *testing.T, options smartvm.Options) *site {
	t.Helper()
	kit := guest.Kit(hosttest.GuestKit(t))
	dir := shortDir(t)
	run, data := cmp.Or(options.RuntimeDir, filepath.Join(dir, "run")), filepath.Join(dir, "data")
	staging := filepath.Join(data, "staging")
	must(t, errors.Join(os.MkdirAll(run, 0o700), os.MkdirAll(staging, 0o700)))
	hosttest.Residue(t, run, staging)
	options.Jail.Off = options.Jail.Off || os.Getenv("SMARTVM_TEST_JAIL") == "0"
	options.RuntimeDir, options.DataDir, options.FirecrackerPath = run, data, hosttest.Firecracker(t)
	options.StartTimeout = cmp.Or(options.StartTimeout, patience) // the host of an emulated machine may be busy
	m, err := smartvm.New(options)
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{t, kit, m}
}

// shortDir is like t.TempDir, but the paths of sockets below it stay short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") //nolint:usetesting // see above
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// config is that of a guest of the kit.
func (s *site) config(kind baseimage.RootfsType) vmconfig.Config {
	s.t.Helper()
	c, err := s.kit.Config(kind)
	must(s.t, err)
	return c
}

// boot starts a VM and waits until its guest is up. Both end with the test.
func (s *site) boot(c vmconfig.Config) (*smartvm.VM, *guest.Guest) {
	s.t.Helper()
	vm, err := s.manager.CreateVM("", c)
	must(s.t, err)
	s.t.Cleanup(func() {
		if err := vm.Cleanup(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	})
	began := time.Now()
	must(s.t, vm.Start(patient(s.t)))
	started := time.Since(began)
	ctx, cancel := context.WithCancel(s.t.Context()) // of the console, which stays open
	s.t.Cleanup(cancel)
	late := time.AfterFunc(patience, cancel)
	g, err := guest.Boot(ctx, vm)
	late.Stop()
	must(s.t, err)
	s.t.Cleanup(func() {
		if err := g.Close(); err != nil {
			s.t.Error(err)
		}
	})
	info, err := vm.Info(patient(s.t))
	must(s.t, err)
	claim.Ran("v"+info.VMMVersion, kernel(s.t), output(s.t, g, "uname -r"))
	s.t.Logf("started after %.2f s, up after %.2f s", started.Seconds(), time.Since(began).Seconds())
	return vm, g
}

// kernel is the release of the one that VMs run on.
func kernel(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	must(t, err)
	return strings.TrimSpace(string(text))
}

// output runs a command in the guest that must succeed.
func output(t *testing.T, g *guest.Guest, command string) string {
	t.Helper()
	out, err := g.Output(patient(t), command)
	must(t, err)
	return out
}

// shutDown asks the guest to, and wants it to do so.
func shutDown(t *testing.T, vm *smartvm.VM) {
	t.Helper()
	must(t, vm.Stop(patient(t), smartvm.StopOptions{Grace: patience}))
	end, err := vm.Wait(patient(t))
	must(t, err)
	if !end.Asked || !end.Status.Success() {
		t.Errorf("ended %+v, want that the guest shut down as it was asked", end)
	}
}

// sum is the SHA-256 of a file.
func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	must(t, err)
	return hex.EncodeToString(hash.Sum(nil))
}
