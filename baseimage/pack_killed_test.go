package baseimage_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
)

// A kill at whatever point leaves nothing that the next call does not remove, also in
// a directory that hands its group down.
func TestNextPackRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	program := faulttest.Build(t, "testdata/packer")
	o := packOptions(t)
	image := write(t, filepath.Join(t.TempDir(), "image"), marked(0, "hsqs"))
	for _, tt := range []struct {
		name string
		args func(parent string) []string
		min  int // kills there must be at least, so that points are not lost
	}{
		{"a bundle of an image", func(parent string) []string { return []string{"bundle", o.Kernel, image, parent + "/killed"} }, 4},
		{"a bundle of a tree", func(parent string) []string { return []string{"bundle", o.Kernel, o.Rootfs, parent + "/killed"} }, 7},
		{"a root file system", func(parent string) []string { return []string{"rootfs", o.Rootfs, parent + "/killed"} }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for n := 1; ; n++ {
				parent := t.TempDir()
				if err := os.Chmod(parent, os.ModeSetgid|0o755); err != nil {
					t.Fatal(err)
				}
				point, killed := faulttest.Run(t, n, proc.Command{Path: program, Args: tt.args(parent)})
				if !killed {
					break
				}
				kills++
				if left := names(t, parent); len(left) != 1 {
					t.Errorf("killed at %s, it has left %q, want a draft", point, left)
				}
				next(t, o, parent)
				if got := names(t, parent); !slices.Equal(got, []string{"next"}) {
					t.Errorf("killed at %s: after the next call there are %q", point, got)
				}
			}
			if kills < tt.min {
				t.Errorf("it was killed %d times, want at least %d", kills, tt.min)
			}
		})
	}
}

// next packs what needs no tool into parent.
func next(t *testing.T, o baseimage.PackOptions, parent string) {
	t.Helper()
	o.Rootfs, o.Dir = write(t, filepath.Join(t.TempDir(), "image"), marked(0, "hsqs")), filepath.Join(parent, "next")
	if _, err := baseimage.Pack(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestNextPackLeavesAloneWhatALiveOneIsAtWorkOn(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	program, o, parent := faulttest.Build(t, "testdata/packer"), packOptions(t), t.TempDir()
	live := startPacker(t, program, "bundle", o.Kernel, "-", filepath.Join(parent, "live"))
	image := startPacker(t, program, "rootfs", "-", filepath.Join(parent, "live.squashfs"))
	before := names(t, parent)
	if len(before) != 2 {
		t.Fatalf("at work are %q, want two", before)
	}
	for _, args := range [][]string{
		{"bundle", o.Kernel, "-", filepath.Join(parent, "killed")}, {"rootfs", "-", filepath.Join(parent, "killed.squashfs")},
	} {
		startPacker(t, program, args...).kill(t)
	}
	if got := names(t, parent); len(got) <= len(before) {
		t.Fatalf("the killed have left nothing: %q", got)
	}
	next(t, o, parent)
	if got, want := names(t, parent), append(slices.Clone(before), "next"); !slices.Equal(got, want) {
		t.Errorf("after the next call there are %q, want %q", got, want)
	}
	live.finish(t)
	image.finish(t)
	if got, want := names(t, parent), []string{"live", "live.squashfs", "next"}; !slices.Equal(got, want) {
		t.Errorf("in the end there are %q, want %q", got, want)
	}
}

// packer is a process in the middle of its work.
type packer struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	rest   []byte // of the tar that it reads
	stderr bytes.Buffer
}

// startPacker returns when the process has read most of the first half of its tar: the
// other side of a pipe has no room for it.
func startPacker(t *testing.T, program string, args ...string) *packer {
	t.Helper()
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	const size = 4 << 20
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	half := stream.Next(size / 2)
	p := &packer{cmd: exec.CommandContext(t.Context(), program, args...), rest: stream.Bytes()}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.input.Write(half); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &p.stderr)
	}
	return p
}

func (p *packer) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // it tells of the kill, as the status does
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it ended by itself: %v\n%s", p.cmd.ProcessState, &p.stderr)
	}
}

func (p *packer) finish(t *testing.T) {
	t.Helper()
	if _, err := p.input.Write(p.rest); err != nil {
		t.Fatal(err)
	}
	if err := p.input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
}
