package jail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
)

// inmate is a hostile program in a jail that the real jailer has made.
type inmate struct {
	*proc.Process

	t        *testing.T
	stdin    *os.File
	stdout   *bufio.Scanner
	attempts int
}

// confine starts the program with files.
func (c *cell) confine(files ...File) *inmate {
	t := c.t
	t.Helper()
	firecracker := hosttest.Firecracker(t)
	jailer := filepath.Join(filepath.Dir(firecracker), strings.Replace(filepath.Base(firecracker), "firecracker", "jailer", 1))
	program := filepath.Join(t.TempDir(), "firecracker")
	build := exec.Command("go", "build", "-o", program, "../../testdata/hostile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	e, err := c.enter(files...)
	if err != nil {
		t.Fatal(err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{
		Path: jailer, Args: c.jail.Args(program, "vm", Limits{}, nil), Dir: "/", Stdin: theirIn, Stdout: theirOut, Stderr: theirOut, Isolate: e.Isolate,
	})
	if err := errors.Join(err, theirIn.Close(), theirOut.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Kill(context.WithoutCancel(t.Context())), in.Close(), out.Close()); err != nil {
			t.Error(err)
		}
	})
	return &inmate{Process: p, t: t, stdin: in, stdout: bufio.NewScanner(out)}
}

// try has it try something and returns what it says.
func (i *inmate) try(format string, args ...any) string {
	i.t.Helper()
	i.attempts++
	if _, err := fmt.Fprintf(i.stdin, "%d "+format+"\n", append([]any{i.attempts}, args...)...); err != nil {
		i.t.Fatal(err)
	}
	var said []string
	for i.stdout.Scan() {
		said = append(said, i.stdout.Text())
		if answer, found := strings.CutPrefix(i.stdout.Text(), fmt.Sprintf("#%d ", i.attempts)); found {
			return answer
		}
	}
	i.t.Fatalf("no answer but %q", said)
	return ""
}

func (i *inmate) want(answer, format string, args ...any) {
	i.t.Helper()
	got := i.try(format, args...)
	begins, whatever := strings.CutSuffix(answer, "*")
	if got != answer && (!whatever || !strings.HasPrefix(got, begins)) {
		i.t.Errorf("%s: %s, want %s", fmt.Sprintf(format, args...), got, answer)
	}
}

// joins brings a file into the jail of a process that runs.
func (c *cell) joins(i *inmate, f File) error {
	c.t.Helper()
	e, err := c.enter(f)
	if err != nil {
		return err
	}
	return proc.OnThread(func() error { return i.Control(e.Join) })
}

func TestJoinGivesAProcessAnotherFileOfTheSameName(t *testing.T) {
	c := newCell(t)
	one := File{Host: c.file("one", "1", 0o600, 0), Inside: "drive/disk", Access: Read}
	i := c.confine(one)
	i.want(`ok "1"`, "read /drive/disk")
	mapped := File{Host: c.file("two", "2", 0o600, stranger), Inside: "drive/disk", Access: Read}
	device := File{Host: c.device("3"), Inside: "drive/disk", Access: Read}
	log := File{Host: c.file("log", "", 0o600, 0), Inside: "snapshot", Access: Read | Write}
	c.host = c.withoutOwners()
	copied := File{Host: c.file("four", "4", 0o600, 0), Inside: "drive/disk", Access: Read}
	// Each kind in the place of each other one, and of itself.
	for n, f := range []File{mapped, mapped, device, device, copied, copied, mapped, copied, device, mapped} {
		if err := c.joins(i, f); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		want := map[string]string{mapped.Host: "2", device.Host: "3", copied.Host: "4"}[f.Host]
		i.want(fmt.Sprintf(`ok "%s"`, want), "read /drive/disk")
		switch f {
		case device:
			i.want("EACCES", "write /drive/disk")
			i.want("EPERM", "chmod /drive/disk 0666")
		case mapped:
			i.want("EROFS", "write /drive/disk")
		}
	}
	if err := c.joins(i, log); err != nil {
		t.Fatal(err)
	}
	i.want("ok", "write /snapshot")
}

func TestJoinRefusesALinkInTheWay(t *testing.T) {
	c := newCell(t)
	precious := c.file("precious", "precious", 0o600, 0)
	i := c.confine(File{Host: c.file("one", "1", 0o600, 0), Inside: "drive/disk", Access: Read})
	i.want("ok", "rename /drive /moved")
	i.want("ok", "symlink . /drive") // so that /drive/disk is his own /disk
	i.want("ok", "symlink %s /snapshot", precious)
	for _, inside := range []string{"drive/disk", "snapshot"} {
		err := c.joins(i, File{Host: c.file("two", "2", 0o600, 0), Inside: inside, Access: Read | Write})
		wantErrno(t, inside, err, unix.ELOOP)
	}
	i.want("ok", "remove /drive")
	i.want("ok", "symlink %s /drive", c.host)
	if err := c.joins(i, File{Host: precious, Inside: "drive/disk", Access: Read | Write}); err == nil {
		t.Error("a link out of the jail was followed")
	}
	if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
		t.Errorf("is %q, %v", got, err)
	}
}

func TestWithdrawnFileIsOutOfReach(t *testing.T) {
	c := newCell(t)
	i := c.confine()
	i.want("ok*", "who") // the jailer is through
	host := c.file("snapshot", "", 0o600, 0)
	snapshot := File{Host: host, Inside: "snapshot", Access: Read | Write}
	withdraw := func() error {
		return proc.OnThread(func() error {
			return i.Control(func(pidfd int) error { return Withdraw(pidfd, []string{snapshot.Inside}) })
		})
	}
	if err := c.joins(i, snapshot); err != nil {
		t.Fatal(err)
	}
	i.want("ok", "hold /snapshot")
	wantErrno(t, "withdraw", withdraw(), ErrKeptOpen)
	i.want("ok", "drop")
	if err := c.joins(i, snapshot); err != nil {
		t.Fatal(err)
	}
	i.want("ok", "write /snapshot")
	if err := withdraw(); err != nil {
		t.Fatal(err)
	}
	before := state(t, host)
	i.want("EACCES", "read /snapshot")
	i.want("EACCES", "write /snapshot")
	i.want("EPERM", "chmod /snapshot 0666")
	if after := state(t, host); after != before {
		t.Errorf("was %v, is %v", before, after)
	}
}

func TestJoinOfAProcessThatHasEndedTouchesNoOther(t *testing.T) {
	c := newCell(t)
	i := c.confine()
	if err := i.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := c.joins(i, File{Host: c.file("two", "2", 0o600, 0), Inside: "drive/disk", Access: Read})
	wantErrno(t, "join", err, os.ErrNotExist)
}
