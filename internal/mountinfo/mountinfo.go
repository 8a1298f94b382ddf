// Package mountinfo reads the kernel's list of mounts, /proc/PID/mountinfo.
package mountinfo

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Mount is a line of the list, see proc_pid_mountinfo(5).
type Mount struct {
	ID      int
	Device  string   // "MAJOR:MINOR", the device number of the files in it
	Root    string   // the directory of the file system that is at Point
	Point   string   // where it is, seen from the process's root
	Options []string // of the mount: rw, nosuid, nodev, noexec, relatime
	Kind    string   // of file system: ext4, tmpfs, cgroup2
	Source  string
	Super   []string // options of the file system
}

// longestLine is more than three paths, escaped, and options have: an overlay names
// all its layers.
const longestLine = 256 << 10

// Parse reads a list.
func Parse(r io.Reader) ([]Mount, error) {
	var mounts []Mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		m, err := ParseLine(lines.Text())
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}

// Own reads the mounts of this process.
func Own() ([]Mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(f)
}

// ParseLine reads "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw": any
// number of fields may stand before the dash.
func ParseLine(line string) (Mount, error) {
	fields := strings.Split(line, " ")
	const dashAtLeast, afterDash = 6, 3
	dash := slices.Index(fields, "-")
	if dash < dashAtLeast || len(fields) < dash+1+afterDash {
		return Mount{}, fmt.Errorf("a line of mountinfo has another form: %q", line)
	}
	id, err := strconv.Atoi(fields[0])
	if err != nil {
		return Mount{}, fmt.Errorf("a line of mountinfo begins with no number: %q", line)
	}
	return Mount{
		ID: id, Device: fields[2], Root: unescape(fields[3]), Point: unescape(fields[4]), Options: strings.Split(fields[5], ","),
		Kind: fields[dash+1], Source: unescape(fields[dash+2]), Super: strings.Split(fields[dash+3], ","),
	}, nil
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		const digits = 3
		if len(after) >= digits {
			if c, err := strconv.ParseUint(after[:digits], 8, 8); err == nil {
				b.WriteByte(byte(c))
				text = after[digits:]
				continue
			}
		}
		b.WriteByte('\\')
		text = after
	}
}

// Has reports whether the mount has an option, such as nosuid.
func (m Mount) Has(option string) bool { return slices.Contains(m.Options, option) }

// SuperHas reports whether the file system has an option, such as favordynmods.
func (m Mount) SuperHas(option string) bool { return slices.Contains(m.Super, option) }

// SuperValue returns the value of an option of the file system, such as that of
// size=4k; "" when it has none.
func (m Mount) SuperValue(option string) string {
	for _, text := range m.Super {
		if value, found := strings.CutPrefix(text, option+"="); found {
			return value
		}
	}
	return ""
}

// At returns the mount that an absolute path is on, of several at one place the
// newest; false when it is below none.
func At(mounts []Mount, name string) (at Mount, found bool) {
	for _, m := range mounts {
		if Below(m.Point, name) && (!found || len(m.Point) >= len(at.Point)) {
			at, found = m, true
		}
	}
	return at, found
}

// Below reports whether a clean path is dir or below it.
func Below(dir, name string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

// Find returns where a directory of a file system, by its device number, is in the
// tree of files that the mounts make; "" when no mount shows it.
func Find(mounts []Mount, device, dir string) string {
	for _, m := range mounts {
		if m.Device == device && Below(m.Root, dir) {
			return path.Join(m.Point, strings.TrimPrefix(dir, m.Root))
		}
	}
	return ""
}
