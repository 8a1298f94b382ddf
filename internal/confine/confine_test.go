package confine_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/confine"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/internal/verdict"
)

// start starts a process that lives as long as the test.
func start(t *testing.T, spec proc.Spec) *proc.Process {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	spec.Dir, spec.Stdin, spec.Stdout = "/", null, null
	if spec.Stderr == nil {
		spec.Stderr = null
	}
	p, err := proc.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

func read(t *testing.T, id proc.ID) *confine.Report {
	t.Helper()
	r, err := confine.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantItem(t *testing.T, r *confine.Report, item string, want verdict.Status) {
	t.Helper()
	if v := byItem(r.Verdicts)[item]; v.Status != want {
		t.Errorf("%+v, want %s", v, want)
	}
}

func TestProcessOfOursIsWhatWeAre(t *testing.T) {
	t.Parallel()
	p := start(t, proc.Spec{Path: "/bin/sleep", Args: []string{"1000"}, Env: []string{"A=hidden-value", "B="}})
	r := read(t, p.ID())
	if r.PID != p.ID().PID || r.UIDs.Effective != os.Geteuid() || r.GIDs.Effective != os.Getegid() {
		t.Errorf("it is %d, user %+v, group %+v", r.PID, r.UIDs, r.GIDs)
	}
	if r.Environment == nil || *r.Environment != 2 {
		t.Errorf("variables: %v, want 2", r.Environment)
	}
	if r.Root == nil || !r.Root.Own || r.Root.Path != "/" {
		t.Errorf("root: %+v, want ours", r.Root)
	}
	if r.Files == nil || r.Files.Open < 3 || len(r.Files.Outside) != 0 {
		t.Errorf("files: %+v", r.Files)
	}
	for _, n := range r.Namespaces {
		if n.Separate || n.ID == 0 {
			t.Errorf("namespace %+v, want ours", n)
		}
	}
	if len(r.Namespaces) != len(confine.NamespaceKinds) || len(r.Threads) != 1 || r.Threads[0].TID != r.PID {
		t.Errorf("namespaces %+v, threads %+v", r.Namespaces, r.Threads)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if hard := r.Limits.OpenFiles.Hard; hard == nil || *hard != files.Max {
		t.Errorf("open files: %s, want at most %d", r.Limits.OpenFiles, files.Max)
	}
	wantItem(t, r, "user", verdict.Weak)
	wantItem(t, r, "root directory", verdict.Weak)
	wantItem(t, r, "environment", verdict.Weak)
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), "hidden-value") {
		t.Errorf("%v; a variable's value is in %s", err, text)
	}
}

func TestEndedProcessAndRecycledPidAreRefused(t *testing.T) {
	t.Parallel()
	alive := start(t, proc.Spec{Path: "/bin/sleep", Args: []string{"1000"}}).ID()
	alive.StartTime++
	ended := start(t, proc.Spec{Path: "/bin/true"})
	select {
	case <-ended.Done():
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	for _, id := range []proc.ID{alive, ended.ID()} {
		if r, err := confine.Read(t.Context(), id); !errors.Is(err, fs.ErrNotExist) || !proc.Gone(err) {
			t.Errorf("read %+v, error %v", r, err)
		}
	}
}

func TestCancelledReadEnds(t *testing.T) {
	t.Parallel()
	p := start(t, proc.Spec{Path: "/bin/sleep", Args: []string{"1000"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := confine.Read(ctx, p.ID()); !errors.Is(err, context.Canceled) {
		t.Errorf("read %+v, error %v", r, err)
	}
}

// What the kernel hides from another user is left out and called unknown.
func TestProcessOfAnotherUserIsPartlyUnknown(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	p := start(t, proc.Spec{Path: "/bin/sleep", Args: []string{"1000"}})
	const nobody = 65534
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, 0); errno != 0 {
		t.Fatal(errno)
	}
	r, err := confine.Read(t.Context(), p.ID())
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Root != nil || r.Files != nil || r.Namespaces != nil || r.Environment != nil {
		t.Errorf("got %+v", r)
	}
	for _, item := range []string{"root directory", "mount namespace", "environment", "open files"} {
		wantItem(t, r, item, verdict.Unknown)
	}
	wantItem(t, r, "user", verdict.Weak)
}

// A child with namespaces of its own, another root and a file from outside of it.
func TestConfinedProcessIsReadAsItIs(t *testing.T) {
	hosttest.Need(t, hosttest.Root)
	jail := t.TempDir()
	if err := os.Chmod(jail, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(jail, "program"), program(t), 0o755); err != nil {
		t.Fatal(err)
	}
	outside, err := os.Create(filepath.Join(t.TempDir(), "outside"))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	r := readTraced(t, jail, outside)
	if r.UIDs.Effective != 30000 || r.GIDs.Effective != 30001 || len(r.Groups) != 0 || len(r.Capabilities.Usable()) != 0 {
		t.Errorf("credentials %+v", r.Credentials)
	}
	if r.Root == nil || r.Root.Own || r.Root.Path != jail {
		t.Errorf("root %+v, want %s", r.Root, jail)
	}
	for _, n := range r.Namespaces {
		if want := n.Kind == "mnt" || n.Kind == "net"; n.Separate != want {
			t.Errorf("namespace %+v, want separate = %t", n, want)
		}
	}
	if r.Files == nil || len(r.Files.Outside) == 0 || r.Files.Outside[0].Path != outside.Name() || r.Files.Outside[0].Kind != "file" || r.Files.Outside[0].Access != "rw" {
		t.Errorf("files %+v, want %s outside", r.Files, outside.Name())
	}
	if r.Dumpable == nil {
		t.Error("dumpable is not told")
	}
	wantItem(t, r, "user", verdict.OK)
	wantItem(t, r, "capabilities", verdict.OK)
	wantItem(t, r, "root directory", verdict.OK)
	wantItem(t, r, "mount namespace", verdict.OK)
	wantItem(t, r, "network namespace", verdict.OK)
	wantItem(t, r, "environment", verdict.OK)
}

// readTraced reads a process that is stopped at its first instruction.
func readTraced(t *testing.T, jail string, stdin *os.File) *confine.Report {
	t.Helper()
	runtime.LockOSThread() // the one that traces has to end it
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec("/program", []string{"program"}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{stdin.Fd(), stdin.Fd(), stdin.Fd()},
		Sys: &syscall.SysProcAttr{
			Ptrace: true, Chroot: jail, Credential: &syscall.Credential{Uid: 30000, Gid: 30001},
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &ws, 0, nil); err == nil && !ws.Stopped() || errors.Is(err, unix.ECHILD) {
				return
			}
		}
	}()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		t.Fatalf("it is not stopped: %v, %v", ws, err)
	}
	return read(t, identify(t, pid))
}

func identify(t *testing.T, pid int) proc.ID {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := proc.ParseStat(text)
	if err != nil {
		t.Fatal(err)
	}
	began, err := strconv.ParseUint(stat.Field(22), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return proc.ID{PID: pid, StartTime: began, BootID: proc.BootID()}
}

// program returns the smallest program that the kernel loads, and that needs nothing
// else in its root. It has no instruction to execute.
func program(t *testing.T) []byte {
	t.Helper()
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	const base, headers = 0x400000, 64 + 56
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Entry: base + headers,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: headers, Memsz: headers, Align: 0x1000,
	}
	var image bytes.Buffer
	for _, part := range []any{header, segment} {
		if err := binary.Write(&image, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return image.Bytes()
}

const patience = 30 * time.Second

// Firecracker itself, under its jailer, with a guest that runs.
func TestFirecrackerInItsJailIsConfined(t *testing.T) {
	binary := hosttest.Boot(t)
	hosttest.Need(t, hosttest.Root)
	if runtime.GOARCH != "amd64" {
		t.Skip("needs an x86_64 machine: the hello guest is built for no other")
	}
	jailer := filepath.Join(filepath.Dir(binary), strings.Replace(filepath.Base(binary), "firecracker", "jailer", 1))
	if _, err := os.Stat(jailer); err != nil {
		t.Skip("there is no jailer beside Firecracker: ", err)
	}
	base, id := t.TempDir(), "confined"
	root := filepath.Join(base, filepath.Base(binary), id, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	config := `{"boot-source": {"kernel_image_path": "/kernel", "boot_args": "hello.stay"}, "drives": [], "machine-config": {"vcpu_count": 1, "mem_size_mib": 16}}`
	for name, content := range map[string][]byte{"kernel": hello.Image(), "vm.json": []byte(config)} {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, proc.Spec{Path: jailer, Args: []string{
		"--id", id, "--exec-file", binary, "--uid", "30000", "--gid", "30001", "--chroot-base-dir", base, "--resource-limit", "fsize=1000000",
		"--", "--no-api", "--config-file", "/vm.json",
	}, Env: []string{"SECRET=1"}})
	r := untilConfined(t, p)
	for item, want := range map[string]verdict.Status{
		"user": verdict.OK, "groups": verdict.OK, "capabilities": verdict.OK, "no_new_privs": verdict.OK, "seccomp": verdict.OK,
		"root directory": verdict.OK, "mount namespace": verdict.OK, "pid namespace": verdict.OK, "network namespace": verdict.Weak,
		"resource limits": verdict.OK, "environment": verdict.OK, "open files": verdict.OK,
	} {
		wantItem(t, r, item, want)
	}
	if r.Root == nil || r.Root.Path != root {
		t.Errorf("root %+v, want %s", r.Root, root)
	}
	if r.Files == nil || len(r.Files.Outside) != 3 {
		t.Errorf("files %+v, want that standard input, output and error come from outside", r.Files)
	}
}

// untilConfined waits for the vCPU and its filter.
func untilConfined(t *testing.T, p *proc.Process) *confine.Report {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-again.C {
		r := read(t, p.ID())
		for _, thread := range r.Threads {
			if thread.Name == "fc_vcpu 0" && byItem(r.Verdicts)["seccomp"].Status == verdict.OK {
				return r
			}
		}
	}
	t.Fatal("the guest does not run")
	return nil
}
