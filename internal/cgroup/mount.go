package cgroup

import (
	"os"
	"strconv"
	"strings"
)

// mount is a line of /proc/PID/mountinfo, see proc_pid_mountinfo(5).
type mount struct {
	id            int
	point         string   // where it is
	options       []string // of this mount
	kind, source  string
	holderOptions []string // of the file system: for version 1, the controllers are among them
}

func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(data)), nil
}

// parseMounts leaves out lines that are not as the manual says.
func parseMounts(text string) []mount {
	var mounts []mount
	for line := range strings.Lines(text) {
		// "36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue"
		left, right, found := strings.Cut(line, " - ")
		about, holder := strings.Fields(left), strings.Fields(right)
		if !found || len(about) < 6 || len(holder) < 2 {
			continue
		}
		id, err := strconv.Atoi(about[0])
		if err != nil {
			continue
		}
		m := mount{id: id, point: unescape(about[4]), options: strings.Split(about[5], ","), kind: holder[0], source: unescape(holder[1])}
		if len(holder) > 2 { // a file system may have no options at all
			m.holderOptions = strings.Split(holder[2], ",")
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes the octal escapes of mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
