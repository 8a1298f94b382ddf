package hosttest

import (
	"runtime"
	"slices"
	"strings"
)

// Goroutines of the standard library that stay for good once they are started,
// or come and go as the runtime likes.
var lasting = []string{"os/signal.signal_recv", "os/signal.loop", "runtime.ensureSigM", "runtime.runFinalizers", "runtime.runCleanups"}

func goroutines(_ scene, seen map[string]string) error {
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		header, frames, _ := strings.Cut(stack, "\n")
		id, _, _ := strings.Cut(header, " [") // "goroutine 7 [chan receive]:"
		if !slices.ContainsFunc(lasting, func(f string) bool { return strings.Contains(frames, f) }) {
			seen[id] = strings.ReplaceAll(stack, "\n", "\n    ")
		}
	}
	return nil
}

func stacks() string {
	for size := 64 << 10; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return strings.TrimSpace(string(buf[:n]))
		}
	}
}
