package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Threads returns the names of the process's threads; none when it has ended.
func (p *Process) Threads() ([]string, error) {
	paths, err := filepath.Glob("/proc/" + strconv.Itoa(p.id.PID) + "/task/*/comm")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		if name, err := os.ReadFile(path); err == nil { // else the thread has just ended
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names, nil
}
