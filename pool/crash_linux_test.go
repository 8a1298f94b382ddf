package pool_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/pool"
)

// administrator builds the program that is killed. It is done before a test is
// isolated, once for all its hosts.
func administrator(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "administrator")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "faultpoint", "-o", program, "./testdata/administrator")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the administrator: %v\n%s", err, out)
	}
	return program
}

// run lets the administrator go as far as his nth point, and reports whether he was
// killed there and which point that was.
func (s *scene) run(t *testing.T, program string, n int) (point string, killed bool) {
	t.Helper()
	pointLog := filepath.Join(t.TempDir(), "points")
	cmd := exec.CommandContext(t.Context(), program, append([]string{"life", s.Dir, s.SharedMemory, strconv.Itoa(alice.UID)}, s.Devices...)...)
	cmd.Env = append(os.Environ(), "SMARTVM_FAULT="+strconv.Itoa(n), "SMARTVM_FAULT_LOG="+pointLog)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	points, readErr := os.ReadFile(pointLog)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		t.Fatal(readErr)
	}
	lines := strings.Split(strings.TrimSpace(string(points)), "\n")
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		return lines[len(lines)-1], true
	}
	if err != nil {
		t.Fatalf("administrator, with point %d in view: %v\n%s", n, err, stderr.String())
	}
	return "", false
}

const crashShards = 4

func TestKilledSetUpIsPutRightByTheNextSetUpOrRemove(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := administrator(t)
	for first := range crashShards {
		t.Run(strconv.Itoa(first+1), func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				killed := map[string]int{}
				for n, round := first+1, 0; !t.Failed(); n, round = n+crashShards, round+1 {
					point, dead := s.run(t, program, n)
					if !dead {
						break
					}
					killed[point]++
					if round%2 == 0 { // as somebody does who tries again
						p := s.setUp(t, pool.Request{User: alice})
						if status, err := p.Status(); err != nil || status != (pool.Status{}) || len(p.TAPs) == 0 {
							t.Errorf("after another setup: %+v, %v", status, err)
						}
					}
					s.remove(t, alice)
					if s.clean(t); t.Failed() {
						t.Fatalf("killed at point %d: %s", n, point)
					}
				}
				s.clean(t)
				t.Logf("killed at %v", killed)
				if len(killed) < 20 { // else the loop has tested nothing
					t.Errorf("killed at %d different points", len(killed))
				}
			})
		})
	}
}
