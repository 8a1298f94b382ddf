package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
)

// Buffer in front of the pipe to sqfstar.
const pipeBuffer = 256 << 10

// squashfs has sqfstar, of squashfs-tools 4.5 and later, read the stream.
func (s *Source) squashfs(ctx context.Context, out *output, o Options) error {
	tool, err := proc.Find("sqfstar", "squashfs-tools")
	if err != nil {
		return err
	}
	compression, err := compressionOf(ctx, tool, out)
	if err != nil {
		return err
	}
	var packed *tree
	err = proc.Run(ctx, sqfstar(tool, compression, out, func(w io.Writer) (err error) {
		buffered := bufio.NewWriterSize(w, pipeBuffer)
		if packed, err = s.write(ctx, buffered, o, fitSquashfs, nil); err != nil {
			return &sourceError{err}
		}
		return buffered.Flush()
	}))
	if err != nil {
		return toolError("sqfstar", err)
	}
	return finishSquashfs(out.file, packed)
}

// sqfstar is the command that makes the image out of the tar that input writes.
// The table of inodes stays uncompressed, for finishSquashfs; that costs 32 bytes
// or more for each file.
func sqfstar(path, compression string, out *output, input func(io.Writer) error) proc.Command {
	return proc.Command{
		Path: path, Env: toolEnv,
		Args: []string{
			"-comp", compression, "-noI", "-mkfs-time", "0", "-exit-on-error", "-force", "-quiet", "-no-progress", out.path,
		},
		Input: input,
	}
}

// toolEnv makes tools speak one language.
var toolEnv = []string{"LC_ALL=C"}

// compressionOf returns zstd if this sqfstar was built with it, else gzip. Which
// it has is found out with an empty tar. The kernels of Firecracker's CI read both
// (resources/guest_configs in its repository: SQUASHFS_ZSTD).
func compressionOf(ctx context.Context, tool string, out *output) (string, error) {
	const preferred, everywhere = "zstd", "gzip"
	err := proc.Run(ctx, sqfstar(tool, preferred, out, func(w io.Writer) error { return tar.NewWriter(w).Close() }))
	if _, refused := errors.AsType[*proc.ExitError](err); refused {
		return everywhere, nil
	}
	return preferred, err
}

// fitSquashfs changes what squashfs can't hold: times before 1970 and after
// 2106, and extended attributes of other than three kinds (fs/squashfs/xattr.c).
func fitSquashfs(e *entry, n *notes) error {
	e.mtime = min(max(e.mtime, 0), math.MaxUint32)
	for name := range e.xattrs {
		if !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.") && !strings.HasPrefix(name, "security.") {
			n.leftOutOnce(e.name, "extended attribute "+name+", which squashfs can't hold")
			delete(e.xattrs, name)
		}
	}
	if e.name == "" && len(e.xattrs) > 0 {
		n.leftOut("", "extended attributes of the root directory, which sqfstar does not write")
		e.xattrs = nil
	}
	return nil
}

// sourceError is a failure of the source, and not of the tool that reads it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (e *sourceError) Unwrap() error { return e.err }

// toolError says which tool has failed.
func toolError(tool string, err error) error {
	if _, source := errors.AsType[*sourceError](err); source {
		return err
	}
	return fmt.Errorf("%s: %w", tool, err)
}
