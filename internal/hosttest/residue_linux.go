package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what /proc says about one.
type process struct {
	parent, pid int
	start       string // clock ticks since boot: tells a pid's holders apart
	state       string
}

// processes finds the test's descendants and those that carry its mark or name
// its folders. A zombie counts: it is a child that nobody waited for.
func processes(s scene, seen map[string]string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	all := map[int]process{}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				all[pid] = p
			}
		}
	}
	for pid, p := range all {
		if pid == os.Getpid() {
			continue
		}
		line := procFile(pid, "cmdline")
		if descends(all, p) || bytes.Contains(procFile(pid, "environ"), []byte(s.mark+"\x00")) || names(line, s.dirs) {
			seen[fmt.Sprintf("process %d %s", pid, p.start)] = fmt.Sprintf("process %d (state %s, parent %d): %s",
				pid, p.state, p.parent, bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '}))
		}
	}
	return nil
}

func readProcess(pid int) (process, bool) {
	// "pid (comm) state ppid ...", start time in field 22; comm may hold anything.
	stat := string(procFile(pid, "stat"))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return process{}, false // gone meanwhile
	}
	parent, err := strconv.Atoi(fields[1])
	return process{parent: parent, pid: pid, state: fields[0], start: fields[19]}, err == nil
}

func descends(all map[int]process, p process) bool {
	for known := true; known; p, known = all[p.parent] {
		if p.parent == os.Getpid() {
			return true
		}
	}
	return false
}

func names(line []byte, dirs []string) bool {
	for _, dir := range dirs {
		if bytes.Contains(line, []byte(dir)) {
			return true
		}
	}
	return false
}

// procFile returns nil for a process that is gone or not ours to read.
func procFile(pid int, name string) []byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil
	}
	return text
}

func descriptors(_ scene, seen map[string]string) error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) { // the descriptor that read the folder
			continue
		}
		if err != nil {
			return err
		}
		seen["fd "+entry.Name()+" "+target] = "file descriptor " + entry.Name() + ": " + target
	}
	return nil
}

func mounts(s scene, seen map[string]string) error {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	own, err := isolated("mnt")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		// "id parent major:minor root point options ..."
		f := strings.Fields(line)
		if point := unescape(f[4]); own || below(point, s.dirs) {
			seen["mount "+f[0]+" "+point] = "mount " + point
		}
	}
	return nil
}

// unescape undoes the octal escapes of blanks in mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

func links(_ scene, seen map[string]string) error {
	own, err := isolated("net")
	if err != nil || !own {
		return err
	}
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if name, _, found := strings.Cut(line, ":"); found { // not a heading
			seen["link "+name] = "network link " + strings.TrimSpace(name)
		}
	}
	return nil
}

// isolated reports whether this thread is in another namespace of the given kind
// than the process that started the tests. (The own process is no measure: the
// thread may be its main thread.) What can't be read counts as shared.
func isolated(kind string) (bool, error) {
	var thread, starter unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/"+kind, &thread); err != nil {
		return false, err
	}
	err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", os.Getppid(), kind), &starter)
	return err == nil && thread.Ino != starter.Ino, nil
}
