package pack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pack"
)

// small makes a tree of one file.
func small(t *testing.T) string {
	t.Helper()
	m := maker{t, filepath.Join(t.TempDir(), "tree")}
	m.file("file", "content", 0o644)
	return m.root
}

// fails packs, wants an error of the code and that nothing is left of it.
func fails(t *testing.T, ctx context.Context, s *pack.Source, o pack.Options, code errcode.Code) *errcode.Error { //nolint:revive // t comes first in helpers
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "rootfs")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := pack.Image(ctx, s, path, o)
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if was, err := os.ReadFile(path); err != nil || string(was) != "before" {
		t.Errorf("what was there before is now %q, %v", was, err)
	}
	return e
}

func TestMissingToolIsNamedWithItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	e := fails(t, t.Context(), open(t, small(t)), pack.Options{Format: pack.Squashfs}, errcode.HostUnsupported)
	if e.Subject != "sqfstar" || !strings.Contains(e.Hint, "squashfs-tools") {
		t.Errorf("got %v", e)
	}
}

// tool puts a shell script into PATH, before the real tools. Tests that use it
// are not parallel: a process that another one starts at the same time holds the
// script open for writing for a moment, and it could not be executed.
func tool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestToolThatFailsIsQuoted(t *testing.T) {
	tool(t, "sqfstar", "cat >/dev/null; echo 'FATAL ERROR: out of luck' >&2; exit 1\n")
	e := fails(t, t.Context(), open(t, small(t)), pack.Options{Format: pack.Squashfs}, errcode.RootfsCreateFailed)
	if !strings.Contains(e.Error(), "sqfstar: ended with exit code 1: FATAL ERROR: out of luck") {
		t.Errorf("got %v, want what the tool says", e)
	}
}

func TestToolThatLeavesEntriesOutIsFoundOut(t *testing.T) {
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	path := lookPath(t, "sqfstar")
	// It takes the first entries only: an end marker follows the root's file.
	tool(t, "sqfstar", `{ head -c 1024; head -c 1024 /dev/zero; cat >/dev/null; } | `+path+` "$@"`+"\n")
	m := maker{t, small(t)}
	m.file("second", "", 0o600)
	e := fails(t, t.Context(), open(t, m.root), pack.Options{Format: pack.Squashfs}, errcode.RootfsCreateFailed)
	if !strings.Contains(e.Error(), "2 of 3 inodes") {
		t.Errorf("got %v", e)
	}
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, name); unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

func TestWithoutZstdTheImageIsGzipped(t *testing.T) {
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	path := lookPath(t, "sqfstar")
	compression := func() byte {
		data, err := os.ReadFile(image(t, open(t, small(t)), pack.Options{Format: pack.Squashfs}))
		if err != nil {
			t.Fatal(err)
		}
		return data[20] // of the superblock: 1 is gzip, 6 zstd
	}
	if got := compression(); got != 6 {
		t.Errorf("compression %d, want zstd", got)
	}
	tool(t, "sqfstar", `case "$*" in *zstd*) cat >/dev/null; exit 1;; esac; exec `+path+` "$@"`+"\n")
	if got := compression(); got != 1 {
		t.Errorf("compression %d, want gzip", got)
	}
}

func TestFullDiskIsNoSpace(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	m := maker{t, small(t)}
	f, err := os.Open("/dev/urandom")
	m.must(err)
	random, err := io.ReadAll(io.LimitReader(f, 8<<20))
	m.must(errors.Join(err, f.Close()))
	m.file("random", string(random), 0o600)
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			needTools(t, format)
			root := hosttest.Mount(t, "tmpfs", map[string]string{"size": "4m"})
			dir := strings.Replace(root.Name(), "self", strconv.Itoa(os.Getpid()), 1) // as the tools see it
			err := pack.Image(t.Context(), open(t, m.root), filepath.Join(dir, "rootfs"), pack.Options{Format: format})
			if !errors.Is(err, errcode.NoSpace) {
				t.Errorf("got %v, want NO_SPACE", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestCancelEndsAPackThatWaitsForItsSource(t *testing.T) {
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			needTools(t, format)
			hosttest.Residue(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			r, w := io.Pipe()
			defer func() { _ = w.Close() }()
			go func() {
				_, _ = w.Write(archive(t, file("a"))[:700]) // and no more
				cancel(os.ErrDeadlineExceeded)
			}()
			if e := fails(t, ctx, pack.Tar("-", r), pack.Options{Format: format}, errcode.Cancelled); !errors.Is(e, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want the cause", e)
			}
		})
	}
}

func TestImageInsideItsOwnTreeIsRefused(t *testing.T) {
	t.Parallel()
	needTools(t, pack.Squashfs)
	tree := small(t)
	err := pack.Image(t.Context(), open(t, tree), filepath.Join(tree, "rootfs"), pack.Options{Format: pack.Squashfs})
	if !errors.Is(err, errcode.RootfsCreateFailed) || !strings.Contains(err.Error(), "outside") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(tree); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestImageDoesNotReplaceADirectory(t *testing.T) {
	t.Parallel()
	if err := pack.Image(t.Context(), open(t, small(t)), t.TempDir(), pack.Options{Format: pack.Squashfs}); !errors.Is(err, unix.EISDIR) {
		t.Errorf("got %v", err)
	}
}

func TestFileThatChangesWhileItIsPackedIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m maker){
		"grows":     func(m maker) { m.must(os.Truncate(m.path("file"), 5<<20)) },
		"shrinks":   func(m maker) { m.must(os.Truncate(m.path("file"), 1<<20)) },
		"rewritten": func(m maker) { m.must(os.WriteFile(m.path("file"), make([]byte, 4<<20), 0o600)) },
		"chmod":     func(m maker) { m.must(os.Chmod(m.path("file"), 0o4777)) },
	} {
		m := maker{t, small(t)}
		m.must(os.WriteFile(m.path("file"), make([]byte, 4<<20), 0o600))
		changed := false
		err := pack.Stream(t.Context(), open(t, m.root), io.Discard, pack.Options{Progress: func(int64) {
			if !changed {
				changed = true
				change(m)
			}
		}})
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.RootfsCreateFailed || !strings.Contains(e.Hint, "nobody writes") {
			t.Errorf("%s: got %v, want ROOTFS_CREATE_FAILED with a hint", name, err)
		}
	}
}

func TestSocketsAndMountsAreLeftOutWithAWord(t *testing.T) {
	hosttest.Isolate(t)
	m := maker{t, small(t)}
	for _, name := range []string{"proc", "below/mnt"} {
		m.dir(name, 0o755)
		m.must(unix.Mount("tmpfs", m.path(name), "tmpfs", 0, "mode=0711"))
		m.file(name+"/secret", "", 0o600)
		defer func() { m.must(unix.Unmount(m.path(name), 0)) }()
	}
	m.file("resolv.conf", "", 0o644)
	m.must(unix.Mount(m.path("file"), m.path("resolv.conf"), "", unix.MS_BIND, ""))
	defer func() { m.must(unix.Unmount(m.path("resolv.conf"), 0)) }()
	// The path of a socket is short, that of the test is not.
	t.Chdir(m.root)
	listener, err := net.Listen("unix", "socket")
	m.must(err)
	defer func() { _ = listener.Close() }()
	m.must(os.Link("socket", "socket-too"))

	var log, out bytes.Buffer
	m.must(pack.Stream(t.Context(), open(t, m.root), &out, pack.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	want := "5 /;5 below/;5 below/mnt/;0 file;5 proc/;0 resolv.conf"
	if got := strings.Join(members(t, out.Bytes()), ";"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, path := range []string{"/proc", "/below/mnt", "/resolv.conf", "/socket", "/socket-too"} {
		if !strings.Contains(log.String(), "path="+path+" ") {
			t.Errorf("nothing is said of %s:\n%s", path, log.String())
		}
	}
}
