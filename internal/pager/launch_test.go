package pager_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/internal/proc"
)

func TestSocketIsPrivateAndTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	launch := pager.Launch{Command: []string{"program", "verb"}, Socket: filepath.Join(dir, "s"), WorkingSet: "/set", Log: filepath.Join(dir, "log")}
	prepared, err := launch.Prepare()
	must(t, err)
	defer prepared.Close()
	info, err := os.Lstat(launch.Socket)
	if must(t, err); info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %s", info.Mode())
	}
	if got := strings.Join(prepared.Spec.Args, " "); prepared.Spec.Path != "program" || got != "verb /set" {
		t.Errorf("the command is %s %s", prepared.Spec.Path, got)
	}
	if _, err := launch.Prepare(); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second one at the same path: %v", err)
	}
	launch.Socket = filepath.Join(dir, strings.Repeat("x", 110))
	if _, err := launch.Prepare(); !errors.Is(err, errcode.PathTooLong) {
		t.Errorf("a long path: %v", err)
	}
	launch.Socket, launch.Log = filepath.Join(dir, "other"), filepath.Join(dir, "none", "log")
	if _, err := launch.Prepare(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no place for a log: %v", err)
	}
	if _, err := os.Lstat(launch.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has left its socket: %v", err)
	}
}

// It is how a server is found whose start was not recorded.
func TestServerIsFoundByItsSocketAlsoWhenItIsAtWork(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	dir := shortDir(t)
	s := memoryFile(t, small, 10)
	memory, err := os.Open(s.memory)
	must(t, err)
	defer memory.Close()
	prepared, err := pager.Launch{
		Command: []string{"/proc/self/exe", serverProgram}, Socket: filepath.Join(dir, "s"), Memory: memory, Log: filepath.Join(dir, "log"),
	}.Prepare()
	must(t, err)
	stdin, err := proc.Identify(prepared.Spec.Stdin)
	must(t, err)
	process, err := proc.Start(prepared.Spec)
	must(t, errors.Join(err, prepared.Close()))
	m := newVMM(t, filepath.Join(dir, "s"), small, 10)
	m.want(t, "ok", "hello")
	m.want(t, "1", "read", 0)
	resource := &proc.Resource{Role: "page server", Stdin: stdin}
	must(t, resource.Release(patient(t)))
	wait(t, process, "the server")
	wait(t, m.process, "its client")
}
