//go:build faultpoint

package fault

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The points of one process are counted together, whatever goroutine reaches them.
var points struct {
	sync.Mutex
	reached map[string]int // by name; "" is for all
}

// Point kills the process when this is the point that SMARTVM_FAULT chose.
func Point(name string) {
	points.Lock()
	defer points.Unlock()
	if points.reached == nil {
		points.reached = map[string]int{}
	}
	points.reached[""]++
	points.reached[name]++
	record(name)
	times, at, _ := strings.Cut(os.Getenv("SMARTVM_FAULT"), " ")
	if n, err := strconv.Atoi(times); err == nil && (at == "" || at == name) && n == points.reached[at] {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

func record(name string) {
	path := os.Getenv("SMARTVM_FAULT_LOG")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(name + "\n"); err != nil {
		panic(err)
	}
}
