package pack

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
)

// ext4Tools are the programs of e2fsprogs by their names.
type ext4Tools map[string]string

func findExt4Tools() (ext4Tools, error) {
	tools := make(ext4Tools)
	for _, name := range []string{"tune2fs", "debugfs", "e2fsck", "resize2fs"} {
		path, err := proc.Find(name, "e2fsprogs")
		if err != nil {
			return nil, err
		}
		tools[name] = path
	}
	return tools, nil
}

// finish makes the image one that can be written to.
func (t ext4Tools) finish(ctx context.Context, im *ext4Image) error {
	steps := []struct {
		tool  string
		args  []string
		input func(io.Writer) error
		mends bool // exit code 1 says that errors were corrected
	}{
		{tool: "tune2fs", args: []string{"-O", "^read-only", "-U", im.uuid, im.path}},
		{tool: "debugfs", args: []string{"-w", "-f", "-", im.path}, input: im.removeSpares},
		// There is something to correct: tar2ext4 does not pad the bitmap of inodes.
		{tool: "e2fsck", args: []string{"-f", "-y", im.path}, mends: true},
		{tool: "resize2fs", args: []string{im.path, strconv.FormatInt(im.size/mib, 10) + "M"}},
		{tool: "tune2fs", args: []string{"-J", "size=" + strconv.FormatInt(im.journal/mib, 10), im.path}},
		{tool: "e2fsck", args: []string{"-f", "-n", im.path}},
	}
	for _, s := range steps {
		err := proc.Run(ctx, proc.Command{Path: t[s.tool], Args: s.args, Env: im.env(), Input: s.input})
		exit, ended := errors.AsType[*proc.ExitError](err)
		if ended && s.mends && exit.Status == (proc.Status{Known: true, Code: 1}) {
			continue
		}
		if err != nil {
			return toolError(s.tool, err)
		}
	}
	return nil
}

// env makes the tools read no configuration and take the tree's time for now.
func (im *ext4Image) env() []string {
	now := strconv.FormatInt(im.time, 10)
	return append([]string{"E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=" + now, "E2FSPROGS_FAKE_TIME=" + now}, toolEnv...)
}

// removeSpares writes the commands for debugfs.
func (im *ext4Image) removeSpares(w io.Writer) error {
	var commands strings.Builder
	for i := range spareInodes {
		commands.WriteString("rm /" + spare(im.spares, i) + "\n")
	}
	commands.WriteString("rmdir /" + im.spares + "\n")
	_, err := io.WriteString(w, commands.String())
	return err
}
