package nettest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

const (
	// endVar says how the body of TestEnd ends.
	endVar = "SMARTVM_TEST_END"
	// pidVar is a file for the id of the process of the body.
	pidVar = "SMARTVM_TEST_PID"
)

func TestIsolatedTestIsAloneInItsNamespaces(t *testing.T) {
	t.Parallel()
	outside, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "with (odd) characters", "one"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
				if err != nil {
					t.Fatal(err)
				}
				if own, err := os.Readlink("/proc/self/ns/net"); err != nil || own == parent {
					t.Errorf("in namespace %s (%v), and so is the parent", own, err)
				}
				links, err := net.Interfaces()
				if err != nil {
					t.Fatal(err)
				}
				for _, link := range links { // some kernels put tunnels into each namespace
					if up := link.Flags&net.FlagUp != 0; up != (link.Name == "lo") {
						t.Errorf("link %s: up %t", link.Name, up)
					}
				}
				if seen, err := filepath.Glob("/sys/class/net/*"); err != nil || len(seen) != len(links) {
					t.Errorf("/sys shows %v, %v, the kernel %v", seen, err, links)
				}
				if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
					t.Error(err)
				}
			})
		})
	}
	if now, err := os.Readlink("/proc/self/ns/net"); err != nil || now != outside {
		t.Errorf("the test itself moved from %s to %s: %v", outside, now, err)
	}
}

// TestEnd is run by the tests below.
func TestEnd(t *testing.T) {
	how := os.Getenv(endVar)
	if how == "" {
		t.Skip("it fails on purpose: other tests run it")
	}
	t.Run("it", func(t *testing.T) {
		nettest.Isolated(t, func(t *testing.T) {
			switch how {
			case "pass":
				t.Log("passes on purpose")
			case "fail":
				t.Error("fails on purpose")
			case "fail below":
				t.Run("below", func(t *testing.T) { t.Error("fails on purpose") })
			case "skip":
				t.Skip("skips on purpose")
			case "panic":
				panic("panics on purpose")
			case "exit":
				os.Exit(0)
			case "leave":
				hosttest.Residue(t)
				nettest.Host(t).AddTAP(t, "left0")
			case "hang":
				if path := os.Getenv(pidVar); path != "" {
					if err := os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
						t.Error(err)
					}
				}
				<-context.Background().Done()
			}
		})
	})
}

func TestHowABodyEndsIsHowTheTestEnds(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		how, verdict, reason string
	}{
		{"pass", "PASS", "passes on purpose"},
		{"fail", "FAIL", "fails on purpose"},
		{"fail below", "FAIL", "fails on purpose"},
		{"skip", "SKIP", "skips on purpose"},
		{"panic", "FAIL", "panics on purpose"},
		{"exit", "FAIL", "in namespaces of its own"},
		{"leave", "FAIL", "network link left0"},
		{"hang", "FAIL", "test timed out"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, "-test.run=^TestEnd$/^it$", "-test.v", "-test.timeout=12s")
			cmd.Env = append(os.Environ(), endVar+"="+tt.how)
			out, err := cmd.CombinedOutput()
			if failed := err != nil; failed != (tt.verdict == "FAIL") {
				t.Errorf("%v, want %s", err, tt.verdict)
			}
			for _, want := range []string{"\n    --- " + tt.verdict + ": TestEnd/it (", tt.reason} {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

func TestBodyDiesWithTheProcessOfItsTest(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pid")
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestEnd$/^it$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), endVar+"=hang", pidVar+"="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, so func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("in vain: ", what)
			}
		}
	}
	pid := 0
	wait("the body to begin", func() bool {
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wait("the body's process to end", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") // nobody may have reaped it yet
	})
}
