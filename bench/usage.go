package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// selfCPU is the processor time of this process, its children's left out.
func selfCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeak makes peakRSS forget what was before.
func resetPeak() error {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5): reset VmHWM
}

// peakRSS is the most memory that this process has had, in MiB.
func peakRSS() (float64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if text, ok := strings.CutPrefix(string(line), "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB"))
			return float64(kib) / 1024, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}

// pause waits for a random while, so that no arm falls into step with the
// kernel's tick (4 ms at 250 Hz).
func pause(ctx context.Context, random *rand.Rand) error {
	const least, most = 8 * time.Millisecond, 16 * time.Millisecond
	timer := time.NewTimer(least + time.Duration(random.Int64N(int64(most-least))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// scheduling tells how this process, and with it every Firecracker, is scheduled.
func scheduling() string {
	attr, err := unix.SchedGetAttr(0, 0)
	switch {
	case err != nil:
		return "unknown"
	case attr.Policy == unix.SCHED_FIFO, attr.Policy == unix.SCHED_RR:
		return "real-time priority " + strconv.Itoa(int(attr.Priority))
	default:
		return "nice " + strconv.Itoa(int(attr.Nice))
	}
}
