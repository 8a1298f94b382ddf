package image

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/pause"
	"github.com/smartvm/smartvm/internal/proc"
)

// Binary is a Firecracker that can be trusted and runs on this machine.
type Binary struct {
	Path    string              `json:"path"` // absolute, without links
	Version firecracker.Version `json:"version"`
}

// Arch is this machine's architecture in Firecracker's spelling.
func Arch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

const (
	opInspect = "inspect firecracker"
	hintPath  = "give the path of the binary out of Firecracker's release archive (--firecracker, SMARTVM_FIRECRACKER)"
)

// Inspect verifies a Firecracker binary before it is executed (a regular
// executable for this machine that nobody but root and this user may write) and
// then asks it for its version. The error is BINARY_NOT_FOUND or BINARY_UNUSABLE.
func Inspect(ctx context.Context, path string) (Binary, error) {
	return inspect(ctx, path, "Firecracker")
}

func inspect(ctx context.Context, path, program string) (Binary, error) {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		target, err = filepath.Abs(target)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Binary{}, &errcode.Error{Code: errcode.BinaryNotFound, Op: opInspect, Subject: path, Err: fs.ErrNotExist, Hint: hintPath}
	}
	if err != nil {
		return Binary{}, unusable(path, err, "")
	}
	if err := verify(target); err != nil {
		return Binary{}, err
	}
	v, err := askVersion(ctx, target, program)
	if err != nil {
		return Binary{}, err
	}
	return Binary{Path: target, Version: v}, nil
}

func unusable(path string, err error, hint string) error {
	return &errcode.Error{Code: errcode.BinaryUnusable, Op: opInspect, Subject: path, Err: err, Hint: hint}
}

// verify looks at the file and at every directory above it.
func verify(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return unusable(path, err, "")
	}
	if !info.Mode().IsRegular() {
		return unusable(path, errors.New("is not a regular file"), hintPath)
	}
	for p := path; ; p = filepath.Dir(p) {
		if err := trusted(p); err != nil {
			return unusable(path, err, "chown it to root and take away the others' write permission")
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return unusable(path, errors.New("is not executable"), "chmod +x "+path)
	}
	return machine(path, Arch())
}

// trusted refuses what another user could replace.
func trusted(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if uid := uint32(os.Geteuid()); st.Uid != 0 && st.Uid != uid {
		return fmt.Errorf("%s belongs to user %d, who could replace it", path, st.Uid)
	}
	sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0
	if st.Mode&0o022 != 0 && !sticky {
		return fmt.Errorf("%s may be written by other users (mode %04o)", path, st.Mode&0o7777)
	}
	return nil
}

// machines are the architectures that there are releases for, as programs name them.
var machines = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64}

// machine checks that the file is a program for the architecture.
func machine(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return unusable(path, fmt.Errorf("is not a program: %w", err), "use the binary out of Firecracker's release archive")
	}
	defer f.Close()
	if want := machines[arch]; f.Machine != want {
		return unusable(path, fmt.Errorf("is made for %s, and %s is wanted", f.Machine, want), "use Firecracker's release for "+arch)
	}
	return nil
}

// versionTimeout bounds a program that is asked for its version: a few
// milliseconds are usual.
const versionTimeout = 10 * time.Second

// askVersion runs firecracker or jailer --version. Only the first line counts; the
// second is a log message (seen with v1.12.1).
func askVersion(ctx context.Context, path, program string) (firecracker.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := outputOfNew(ctx, path, "--version")
	if err != nil {
		return firecracker.Version{}, unusable(path, fmt.Errorf("--version: %w", err), "is it a "+program+" for this machine?")
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	name, number, _ := strings.Cut(string(line), " ")
	v, err := firecracker.ParseVersion(strings.TrimSpace(number))
	if name != program || err != nil {
		return firecracker.Version{}, unusable(path, fmt.Errorf("--version says %q", line), "it is not "+program)
	}
	return v, nil
}

// outputOfNew runs a program that may have been written a moment ago. A process
// that another goroutine starts at that time holds the file open for writing until
// it executes something itself, and so long ours can't be executed.
func outputOfNew(ctx context.Context, path string, args ...string) ([]byte, error) {
	const pace = 5 * time.Millisecond
	for {
		out, err := proc.Output(ctx, path, args...)
		if !errors.Is(err, unix.ETXTBSY) {
			return out, err
		}
		if given := pause.For(ctx, pace); given != nil {
			return nil, errors.Join(err, given)
		}
	}
}
