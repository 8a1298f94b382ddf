package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
)

// TestMain lets the test binary be the command smartvm as well.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"smartvm": func() {
			os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs the scripts of testdata/script. Each has directories of its
// own and must leave neither VMs nor processes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_GOLDEN") != "",
		Condition:           condition,
		Setup:               func(env *testscript.Env) error { return setUp(t, env) },
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"eventually": eventually},
	})
}

// condition knows "guest": a VM can be started here.
func condition(name string) (bool, error) {
	if name != "guest" {
		return false, errors.New("unknown condition " + name)
	}
	able := unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil && os.Getenv("SMARTVM_FIRECRACKER") != ""
	must := slices.Contains(strings.Split(os.Getenv("SMARTVM_TEST_MUST"), ","), "kvm")
	if must && !able {
		return false, errors.New("SMARTVM_TEST_MUST has kvm, but /dev/kvm or SMARTVM_FIRECRACKER is missing")
	}
	return able, nil
}

// setUp makes the directories of one script. The runtime directory has a short
// name because sockets below it may have 107 bytes.
func setUp(t *testing.T, env *testscript.Env) error {
	dir, err := os.MkdirTemp("/dev/shm", "svcli")
	if err != nil {
		return err
	}
	data, runtime := filepath.Join(dir, "d"), filepath.Join(dir, "r")
	env.Setenv("SMARTVM_DATA_DIR", data)
	env.Setenv("SMARTVM_RUNTIME_DIR", runtime)
	env.Setenv("SMARTVM_FIRECRACKER", os.Getenv("SMARTVM_FIRECRACKER"))
	env.Setenv("GORACE", "atexit_sleep_ms=0") // each of the many processes would wait a second
	script := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	env.Defer(func() {
		for _, left := range residue(t, data, runtime) {
			t.Errorf("%s: left behind: %s", script, left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return nil
}

// residue removes the VMs that a script has left, and lists them and the
// processes that still have to do with its runtime directory.
func residue(t *testing.T, data, runtime string) []string {
	t.Helper()
	m, err := smartvm.New(smartvm.Options{DataDir: data, RuntimeDir: runtime})
	if err != nil {
		return []string{err.Error()}
	}
	defer m.Close()
	entries, err := m.Inventory(t.Context())
	if err != nil {
		t.Error(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, "vm "+e.ID)
		if vm, err := m.Attach(t.Context(), e.ID); err != nil {
			t.Error(err)
		} else if err := vm.Cleanup(t.Context()); err != nil {
			t.Error(err)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, path := range commands {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(runtime)) {
			left = append(left, "process "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return left
}

// eventually repeats a command until it succeeds and prints a text:
//
//	eventually TEXT COMMAND...
//
// It gives up after 20 seconds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT COMMAND...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		// Not ts.Exec, which would log every attempt.
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `exec "$@"`, "sh"}, args[1:]...)...)
		cmd.Dir = ts.MkAbs(".")
		for _, name := range []string{"PATH", "SMARTVM_DATA_DIR", "SMARTVM_RUNTIME_DIR", "SMARTVM_FIRECRACKER"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		out, err := cmd.CombinedOutput()
		if err == nil && strings.Contains(string(out), args[0]) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("never came: %s (%v)\n%s", args[0], err, out)
		}
	}
}
