package cgroup

import (
	"os"
	"strings"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

func readMounts() ([]mountinfo.Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(data)), nil
}

// parseMounts leaves out lines that are not as the manual says: what they are about is
// no control group.
func parseMounts(text string) []mountinfo.Mount {
	var mounts []mountinfo.Mount
	for line := range strings.Lines(text) {
		if m, err := mountinfo.ParseLine(strings.TrimSuffix(line, "\n")); err == nil {
			mounts = append(mounts, m)
		}
	}
	return mounts
}
