package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/internal/cli"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// The test program is the command smartvm as well, if its first argument says so. The
// command starts itself as the keeper of a console, and does not know of that.
const (
	commandWord = "smartvm"
	keeperWord  = "console-keeper"
)

// command runs the command, if the arguments are for it.
func command(args []string) (code int, is bool) {
	if len(args) == 0 || args[0] != commandWord && args[0] != keeperWord {
		return 0, false
	}
	if args[0] == commandWord {
		args = args[1:]
	}
	return cli.Main(context.Background(), args, os.Stdin, os.Stdout, os.Stderr), true
}

// process is the command smartvm, as a user runs it.
type process struct {
	*exec.Cmd

	t              *testing.T
	stdout, stderr screen
}

// command prepares the command with the directories of the site.
func (s *site) command(args ...string) *process {
	s.t.Helper()
	self, err := os.Executable()
	must(s.t, err)
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(s.t.Context()), self, append([]string{commandWord}, args...)...), t: s.t}
	p.Env = append(os.Environ(), "SMARTVM_RUNTIME_DIR="+s.manager.RuntimeDir(), "SMARTVM_DATA_DIR="+s.manager.DataDir(),
		"SMARTVM_FIRECRACKER="+hosttest.Firecracker(s.t))
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	return p
}

// start starts the command and goes on. The end of the test is the last that the
// command sees.
func (p *process) start() {
	p.t.Helper()
	must(p.t, p.Start())
	p.t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
}

// succeed waits for the end of the command, and returns its output.
func (p *process) succeed() string {
	p.t.Helper()
	if err := p.Wait(); err != nil {
		p.t.Fatalf("smartvm %s: %v\n%s", strings.Join(p.Args[2:], " "), err, p.stderr.String())
	}
	return strings.TrimSpace(p.stdout.String())
}

// smartvm runs the command, which must succeed, and returns its output.
func (s *site) smartvm(args ...string) string {
	s.t.Helper()
	p := s.command(args...)
	p.start()
	return p.succeed()
}

// vmFile writes a configuration as a VM file.
func vmFile(t *testing.T, c vmconfig.Config) string {
	t.Helper()
	text, err := json.Marshal(c)
	must(t, err)
	path := filepath.Join(t.TempDir(), "vm.json")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// screen has what a process prints.
type screen struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed with the next change, if somebody waits for it
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a text has been printed.
func (s *screen) await(ctx context.Context, text string) error {
	for {
		s.mu.Lock()
		found := strings.Contains(s.text.String(), text)
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.New("never printed: " + text + "; but: " + s.String())
		}
	}
}
