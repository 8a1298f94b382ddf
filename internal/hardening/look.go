package hardening

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/smartvm/smartvm/internal/mountinfo"
	"github.com/smartvm/smartvm/internal/verdict"
)

// look is one check at work: what it has read, and what it has concluded.
type look struct {
	Host

	finding Finding
}

const (
	mostBytes = 16 << 20 // of a file: the list of mounts of a busy host has megabytes
	mostShown = 200      // bytes of it in a reading
)

// read returns the text of a file, without blanks around it. Where it can't be read
// the check is unknown, unless it comes to another conclusion.
func (l *look) read(path string) (string, bool) {
	text, ok := l.readPrivately(path)
	if ok {
		l.note(path, text)
	}
	return text, ok
}

// readPrivately is read for a file of which only parts may be shown.
func (l *look) readPrivately(path string) (string, bool) {
	data, err := l.content(path)
	if err != nil {
		l.failed(path, err)
		return "", false
	}
	return strings.TrimSpace(string(data)), true
}

func (l *look) content(path string) ([]byte, error) {
	f, err := l.FS.Open(inTree(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(data) > mostBytes {
		err = fmt.Errorf("more than %d bytes", mostBytes)
	}
	return data, err
}

func inTree(path string) string {
	if path == "/" {
		return "."
	}
	return strings.TrimPrefix(path, "/")
}

func (l *look) number(path string) (int, bool) {
	text, ok := l.read(path)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		l.unknown("%s has no number: %q", path, shorten(text))
		return 0, false
	}
	return n, true
}

// maybe is read for a file that not every kernel has, and whose absence alone says
// nothing.
func (l *look) maybe(path string) (string, bool) {
	before := l.finding
	text, ok := l.read(path)
	if !ok {
		read := l.finding.Read
		l.finding = before
		l.finding.Read = read
	}
	return text, ok
}

func (l *look) names(dir string) ([]string, bool) {
	entries, err := fs.ReadDir(l.FS, inTree(dir))
	if err != nil {
		l.failed(dir, err)
		return nil, false
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, true
}

// file is what stat says about one.
type file struct {
	mode     fs.FileMode
	uid, gid int
}

func (f file) String() string {
	return fmt.Sprintf("mode %04o, owner %d, group %d", f.mode.Perm(), f.uid, f.gid)
}

func (l *look) stat(path string) (file, bool) {
	info, err := fs.Stat(l.FS, inTree(path))
	if err != nil {
		l.failed(path, err)
		return file{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		l.unknown("the owner of %s can't be told", path)
		return file{}, false
	}
	f := file{info.Mode(), int(st.Uid), int(st.Gid)}
	l.note(path, f.String())
	return f, true
}

const mountList = "/proc/self/mountinfo"

func (l *look) mounts() ([]mountinfo.Mount, bool) {
	data, err := l.content(mountList)
	if err != nil {
		l.failed(mountList, err)
		return nil, false
	}
	mounts, err := mountinfo.Parse(bytes.NewReader(data))
	if err != nil {
		l.failed(mountList, err)
		return nil, false
	}
	return mounts, true
}

// note records what was read.
func (l *look) note(path, value string) {
	l.finding.Read = append(l.finding.Read, Reading{Path: path, Value: shorten(value)})
}

func shorten(text string) string {
	if len(text) > mostShown {
		return strings.ToValidUTF8(text[:mostShown], "") + "..."
	}
	return text
}

func (l *look) failed(path string, err error) {
	problem, fix := err.Error(), ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem = "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		problem, fix = "it may not be read", "run it as root"
	}
	l.finding.Read = append(l.finding.Read, Reading{Path: path, Problem: problem})
	l.unknown("%s: %s", path, problem)
	l.finding.Fix = fix
}

// The conclusions; the last one counts.
func (l *look) ok(format string, args ...any) { l.say(verdict.OK, "", format, args) }

func (l *look) weak(fix, format string, args ...any) { l.say(verdict.Weak, fix, format, args) }

func (l *look) unknown(format string, args ...any) { l.say(verdict.Unknown, "", format, args) }

func (l *look) say(s verdict.Status, fix, format string, args []any) {
	l.finding.Status, l.finding.Fix, l.finding.Found = s, fix, fmt.Sprintf(format, args...)
}

// conclude returns the finding. A check without a conclusion has found nothing out.
func (l *look) conclude() Finding {
	if l.finding.Status == "" {
		l.unknown("it could not be found out")
	}
	return l.finding
}
