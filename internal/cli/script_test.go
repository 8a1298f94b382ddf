package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// TestMain lets the test binary be the command smartvm as well.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"smartvm": func() {
			os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs the scripts of testdata/script, which need no guest.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", "") }

// TestScriptsOnGuests runs the scripts of testdata/guest.
func TestScriptsOnGuests(t *testing.T) { runScripts(t, "testdata/guest", hosttest.Boot(t)) }

// runScripts runs each script with directories of its own, in which it must
// leave no VM. They have short names, because sockets below them may have 107
// bytes, and are on a tmpfs.
func runScripts(t *testing.T, dir, firecracker string) {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "svcli") //nolint:usetesting // the name of t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Residue(t, base)
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	worlds := newWorlds(t, dir, base, firecracker)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_GOLDEN") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"eventually": eventually, "misbehave": worlds.misbehave, "publish": worlds.publish, "asuser": asUser,
			"takesnapshot": takeSnapshot, "holdsnapshot": holdSnapshot,
		},
		Setup: func(env *testscript.Env) error {
			home, err := os.MkdirTemp(base, "") //nolint:usetesting // as above
			if err != nil {
				return err
			}
			opts := smartvm.Options{DataDir: filepath.Join(home, "d"), RuntimeDir: filepath.Join(home, "r")}
			env.Setenv("SMARTVM_DATA_DIR", opts.DataDir)
			env.Setenv("SMARTVM_RUNTIME_DIR", opts.RuntimeDir)
			env.Setenv("SMARTVM_FIRECRACKER", firecracker)
			env.Setenv("PATH", withoutFirecracker(env.Getenv("PATH")))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // each of the many processes would wait a second
			env.Defer(func() { removeVMs(t, filepath.Base(env.WorkDir), opts) })
			return worlds.of(env.WorkDir).furnish(t, env)
		},
	})
}

// withoutFirecracker leaves out of a PATH the directories that have a Firecracker,
// so that scripts find the same on every machine.
func withoutFirecracker(path string) string {
	dirs := slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "firecracker"))
		return err == nil
	})
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// removeVMs removes the VMs that a script has left, which is its failure.
func removeVMs(t *testing.T, script string, opts smartvm.Options) {
	t.Helper()
	m, err := smartvm.New(opts)
	if err != nil {
		t.Error(err)
		return
	}
	defer m.Close()
	entries, err := m.Inventory(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("%s has left the vm %s", script, e.ID)
		vm, err := m.Attach(t.Context(), e.ID)
		if err == nil {
			err = vm.Cleanup(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	}
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
