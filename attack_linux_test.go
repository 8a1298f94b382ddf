package smartvm_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// These tests play a Firecracker that its guest has taken over, in the jail that smartvm
// and the real jailer make for it, or smartvm alone for one that is restored. Every attempt is made a second time as root without a
// jail, where it has to succeed: else it would prove nothing that it fails.

// hostileVersion is set before the program is built: it passes for the Firecracker whose
// jailer is beside it.
var hostileVersion string

// hostileProgram is built once. The jailer that is beside it is the real one.
var hostileProgram = sync.OnceValues(func() (program []byte, err error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "firecracker")
	build := exec.Command("go", "build", "-ldflags", "-X main.version="+hostileVersion, "-o", path, "./testdata/hostile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the hostile Firecracker: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// installHostile puts it, and a copy of the jailer, where only this test uses them.
func installHostile(t *testing.T) string {
	t.Helper()
	hosttest.Need(t, hosttest.Root, hosttest.KVM)
	genuine := hosttest.Firecracker(t)
	known, err := image.Inspect(t.Context(), genuine)
	must(t, err)
	hostileVersion = strings.TrimPrefix(known.Version.String(), "v")
	program, err := hostileProgram()
	must(t, err)
	dir := shortDir(t)
	write(t, filepath.Join(dir, "firecracker"), program)
	must(t, os.Chmod(filepath.Join(dir, "firecracker"), 0o755)) // the jail's user executes a copy
	copyFile(t, filepath.Join(filepath.Dir(genuine), strings.Replace(filepath.Base(genuine), "firecracker", "jailer", 1)), filepath.Join(dir, "jailer"))
	return filepath.Join(dir, "firecracker")
}

// hostileSite is newSite with a hostile Firecracker in a jail.
func hostileSite(t *testing.T, opts smartvm.Options) *site {
	t.Helper()
	needJail(t)
	opts.FirecrackerPath = installHostile(t)
	return newSite(t, opts)
}

// attacker is a hostile program that is told what to try.
type attacker struct {
	t     *testing.T
	say   io.Writer
	hear  *bufio.Scanner
	tries int
}

// captive is a hostile Firecracker in its jail.
type captive struct {
	attacker
	*smartvm.VM
}

// console writes to the console of a VM.
type consoleOf struct {
	t  *testing.T
	vm *smartvm.VM
}

func (c consoleOf) Write(p []byte) (int, error) {
	return len(p), c.vm.WriteConsole(patient(c.t), p)
}

// capture starts the VM and listens to it.
func capture(t *testing.T, vm *smartvm.VM) *captive {
	t.Helper()
	if err := vm.Start(patient(t)); err != nil {
		t.Fatal(err, errorsIn(err)[0].Details)
	}
	return listen(t, vm)
}

// recapture restores a VM of this config, whose snapshot the real Firecracker takes, with
// the hostile one.
func (s *site) recapture(id string, config vmconfig.Config) *captive {
	s.t.Helper()
	genuine := *s
	genuine.opts.FirecrackerPath = hosttest.Firecracker(s.t)
	genuine.Manager = genuine.another()
	vm := genuine.bootConfig(config)
	_, err := vm.Snapshot(patient(s.t), id, smartvm.SnapshotOptions{})
	must(s.t, err)
	must(s.t, vm.Cleanup(patient(s.t)))
	restored, err := s.Restore(patient(s.t), id, smartvm.RestoreOptions{ID: id})
	must(s.t, err)
	return listen(s.t, restored)
}

// listen hears what a VM answers.
func listen(t *testing.T, vm *smartvm.VM) *captive {
	t.Helper()
	out, err := vm.OpenConsole(patient(t), smartvm.ConsoleOptions{Follow: true})
	must(t, err)
	t.Cleanup(func() { _ = out.Close() })
	return &captive{attacker{t: t, say: consoleOf{t, vm}, hear: bufio.NewScanner(out)}, vm}
}

// free runs the same program as root without any jail.
func free(t *testing.T, program string) *attacker {
	t.Helper()
	cmd := exec.Command(program)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Error("the free attacker: ", err)
		}
	})
	return &attacker{t: t, say: in, hear: bufio.NewScanner(out)}
}

// try has it try something, and returns "ok" and what it found, or the error's name.
func (a *attacker) try(format string, args ...any) string {
	a.t.Helper()
	a.tries++
	what := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintf(a.say, "%d %s\n", a.tries, what); err != nil {
		a.t.Fatalf("%s: %v", what, err)
	}
	for a.hear.Scan() {
		if answer, found := strings.CutPrefix(a.hear.Text(), fmt.Sprintf("#%d ", a.tries)); found {
			a.t.Logf("%s: %s", what, answer)
			return answer
		}
	}
	a.t.Fatalf("%s: no answer: %v", what, a.hear.Err())
	return ""
}

func (a *attacker) want(answer, format string, args ...any) {
	a.t.Helper()
	if got := a.try(format, args...); !answers(answer, got) {
		a.t.Errorf("%s: %s, want %s", fmt.Sprintf(format, args...), got, answer)
	}
}

// answers compares with alternatives "A|B"; "ok" stands for whatever was found.
func answers(want, got string) bool {
	for one := range strings.SplitSeq(want, "|") {
		if got == one || one == "ok" && strings.HasPrefix(got, "ok") {
			return true
		}
	}
	return false
}

// attempt is one thing that is tried twice.
type attempt struct {
	what   string // VERB ARGUMENTS
	jailed string // the answers that are right in the jail
	free   string // and without it; "ok" if it is left out
}

// both makes the attempts in the jail and without it.
func both(t *testing.T, in *captive, out *attacker, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		in.want(a.jailed, "%s", a.what)
		if a.free != "-" {
			out.want(strings.TrimPrefix(a.free+"|ok", "|"), "%s", a.what)
		}
	}
}

// gone demands that what a clean-up had to remove is gone: all processes of the VM's
// user, too.
func wantNobody(t *testing.T, uid int) {
	t.Helper()
	for _, pid := range processesOf(t, uid) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		t.Errorf("process %d of user %d is left: %q", pid, uid, line)
	}
}

// processesOf lists the processes of a user.
func processesOf(t *testing.T, uid int) (pids []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || err != nil {
			continue // gone meanwhile
		}
		if strings.Contains(string(text), fmt.Sprintf("\nUid:\t%d\t", uid)) {
			var pid int
			_, err := fmt.Sscanf(path, "/proc/%d/status", &pid)
			must(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// uid is the user that a VM's Firecracker runs as.
func (s *site) uid(vm *smartvm.VM) int {
	s.t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid(vm)))
	must(s.t, err)
	_, rest, _ := strings.Cut(string(info), "\nUid:\t")
	var uid int
	_, err = fmt.Sscan(rest, &uid)
	must(s.t, err)
	return uid
}

// root is the directory that is the VM's whole world.
func (s *site) root(vm *smartvm.VM) string {
	s.t.Helper()
	if restored := filepath.Join(vm.Dir(), "jail"); exists(filepath.Join(restored, "dev")) {
		return restored
	}
	paths, err := filepath.Glob(filepath.Join(vm.Dir(), "jail", "*", vm.ID(), "root"))
	must(s.t, err)
	if len(paths) != 1 {
		s.t.Fatalf("roots: %v", paths)
	}
	return paths[0]
}
