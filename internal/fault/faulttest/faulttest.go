// Package faulttest is for tests that kill a program at each of its fault points; see
// package fault. Only test files import it.
package faulttest

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Build builds a program, given by its directory below the test's, with the points in
// it, and returns its path.
func Build(tb testing.TB, dir string) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), filepath.Base(dir))
	goTool, err := proc.Find("go", "golang")
	if err != nil {
		tb.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	err = proc.Run(tb.Context(), proc.Command{
		Path: goTool, Args: []string{"build", "-tags", "faultpoint", "-o", program, "./" + dir}, Env: os.Environ(), Dir: here,
	})
	if err != nil {
		tb.Fatalf("build %s: %v", dir, err)
	}
	return program
}

// Run lets a program go as far as its nth point, and reports whether it was killed
// there and which point that was. Its environment is that of this process and what the
// command has.
func Run(tb testing.TB, n int, c proc.Command) (point string, killed bool) {
	tb.Helper()
	points, killed := run(tb, strconv.Itoa(n), c)
	if !killed {
		return "", false
	}
	return points[len(points)-1], true
}

// RunTo lets a program go until it reaches a point for the nth time, and reports whether it
// was killed there.
func RunTo(tb testing.TB, point string, n int, c proc.Command) (killed bool) {
	tb.Helper()
	_, killed = run(tb, strconv.Itoa(n)+" "+point, c)
	return killed
}

// Points lets a program go to its end, and returns which points it has passed.
func Points(tb testing.TB, c proc.Command) []string {
	tb.Helper()
	points, killed := run(tb, strconv.Itoa(math.MaxInt32), c)
	if killed {
		tb.Fatalf("%s was killed, and should have come to its end", filepath.Base(c.Path))
	}
	return points
}

func run(tb testing.TB, fault string, c proc.Command) (points []string, killed bool) {
	tb.Helper()
	log := filepath.Join(tb.TempDir(), "points")
	c.Env = slices.Concat(os.Environ(), c.Env, []string{"SMARTVM_FAULT=" + fault, "SMARTVM_FAULT_LOG=" + log})
	err := proc.Run(tb.Context(), c)
	if end, ended := errors.AsType[*proc.ExitError](err); err != nil && (!ended || end.Status.Signal != int(unix.SIGKILL)) {
		tb.Fatalf("%s, with point %s in view: %v", filepath.Base(c.Path), fault, err)
	}
	text, readErr := os.ReadFile(log)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		tb.Fatal(readErr)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err != nil
}
