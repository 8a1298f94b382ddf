package proc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/proc"
)

func shell(script string) proc.Command {
	return proc.Command{Path: "/bin/sh", Args: []string{"-c", script}}
}

func TestRunGivesTheInputToTheProgram(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "copy")
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // more than a pipe holds
	c := shell(`exec cat >"$0"`)
	c.Args = append(c.Args, file)
	c.Env = []string{"PATH=/usr/bin:/bin"}
	c.Input = func(w io.Writer) error {
		_, err := w.Write(want)
		return err
	}
	if err := proc.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the program read %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func TestExitErrorHasTheEndOfWhatTheProgramComplained(t *testing.T) {
	t.Parallel()
	err := proc.Run(t.Context(), shell(`head -c 100000 /dev/zero | tr '\0' x >&2; printf '\nbad \033block\n\n' >&2; exit 3`))
	exit, ok := errors.AsType[*proc.ExitError](err)
	if !ok || exit.Status.Code != 3 || !strings.HasSuffix(exit.Stderr, "x; bad block") || len(exit.Stderr) > 1<<10 {
		t.Errorf("got %.100v, want exit code 3 and its last words", err)
	}
}

func TestProgramThatReadsNoMoreIsJudgedByItsStatus(t *testing.T) {
	t.Parallel()
	for script, success := range map[string]bool{"exit 0": true, "exit 1": false} {
		c := shell(script)
		c.Input = func(w io.Writer) error {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
		}
		if err := proc.Run(t.Context(), c); (err == nil) != success || errors.Is(err, unix.EPIPE) {
			t.Errorf("%s: got %v", script, err)
		}
	}
}

func TestFailingInputKillsTheProgram(t *testing.T) {
	t.Parallel()
	c := shell("cat; exec sleep 1000") // it goes on after the end of its input
	c.Env = []string{"PATH=/usr/bin:/bin"}
	c.Input = func(io.Writer) error { return os.ErrInvalid }
	if err := proc.Run(t.Context(), c); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("got %v, want the input's error", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	c := shell("exec sleep 1000")
	c.Input = func(w io.Writer) error {
		cancel(os.ErrDeadlineExceeded)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}
	if err := proc.Run(ctx, c); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the cause of the end", err)
	}
}

func TestCommandHasItsDirectoryAndEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for in, want := range map[string]string{"": "/ b\n", dir: dir + " b\n"} {
		c := proc.Command{Path: "/bin/sh", Args: []string{"-c", `echo "$(pwd -P) $A"`}, Env: []string{"A=b"}, Dir: in}
		if out, err := c.Output(t.Context()); err != nil || string(out) != want {
			t.Errorf("in %q: got %q, %v, want %q", in, out, err, want)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	if out, err := proc.Output(t.Context(), "/bin/sh", "-c", "echo hello"); err != nil || string(out) != "hello\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := proc.Output(t.Context(), "/bin/sh", "-c", "while :; do echo endless; done"); err == nil {
		t.Error("an endless output is no error")
	}
}

func TestFindIgnoresRelativeEntriesOfPATH(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"tool-here", "bin/tool-there"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", ".::"+filepath.Join(dir, "bin"))
	if got, err := proc.Find("tool-there", "some-package"); err != nil || got != filepath.Join(dir, "bin", "tool-there") {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := proc.Find("tool-here", "some-package")
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.HostUnsupported || e.Subject != "tool-here" || !strings.Contains(e.Hint, "some-package") {
		t.Errorf("got %v, want HOST_UNSUPPORTED that names the package", err)
	}
}
