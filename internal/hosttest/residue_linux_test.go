package hosttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inspect runs body as a test that Residue watches and returns what it failed
// with. A body that is expected to leave something is given no patience.
func inspect(t *testing.T, patience time.Duration, dirs []string, body func()) string {
	t.Helper()
	v := &verdict{TB: t}
	residue(v, patience, dirs)
	body()
	for _, f := range v.cleanups {
		f()
	}
	return v.failed
}

func start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestResidueFindsWhatATestLeft(t *testing.T) {
	dir := t.TempDir()
	known := filepath.Join(dir, "known")
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		leave func(t *testing.T)
		want  string
	}{
		{"nothing", func(*testing.T) {}, ""},
		{"process", func(t *testing.T) {
			t.Helper()
			start(t, "sleep", "60")
		}, "sleep 60"},
		{"zombie", func(t *testing.T) {
			t.Helper()
			cmd := start(t, "true")
			var info unix.Siginfo
			if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
				t.Fatal(err)
			}
		}, "(state Z"},
		{"orphan", func(t *testing.T) {
			t.Helper()
			orphan(t, "sleep 61")
		}, "sleep 61"},
		{"orphan without our environment", func(t *testing.T) {
			t.Helper()
			orphan(t, "env -i tail -f "+known)
		}, "tail -f " + known},
		{"file descriptor", func(t *testing.T) {
			t.Helper()
			f, err := os.Open("/dev/zero")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
		}, ": /dev/zero"},
		{"goroutine", func(t *testing.T) {
			t.Helper()
			end := make(chan struct{})
			go func() { <-end }()
			t.Cleanup(func() { close(end) })
		}, "[chan receive]"},
		{"file", func(t *testing.T) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, "left.sock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, filepath.Join(dir, "left.sock")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := inspect(t, 50*time.Millisecond, []string{dir}, func() { tt.leave(t) })
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

// orphan leaves a process whose parent is gone.
func orphan(t *testing.T, command string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", command+" >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
}

func TestResidueFindsMountsAndLinksOfAnIsolatedTest(t *testing.T) {
	dir := t.TempDir()
	Isolate(t)
	got := inspect(t, 0, nil, func() {
		if err := unix.Mount("left", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		addTAP(t, "left0")
	})
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	for _, want := range []string{"mount " + dir, "network link left0"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestResidueFindsAMountBelowAFolderOfTheTest(t *testing.T) {
	Need(t, Root)
	dir := filepath.Join(t.TempDir(), "with blank")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	got := inspect(t, 0, []string{filepath.Dir(dir)}, func() {
		if err := unix.Mount("left", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	})
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	if want := "mount " + dir; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestResidueWaitsForWhatIsAboutToEnd(t *testing.T) {
	end := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(end) })
	got := inspect(t, time.Minute, nil, func() {
		go func() { <-end }()
	})
	if got != "" {
		t.Errorf("reported a goroutine that ended in time: %s", got)
	}
}

func TestResidueKnowsAReusedDescriptorNumber(t *testing.T) {
	old, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	var reused *os.File
	got := inspect(t, 0, nil, func() {
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if reused, err = os.Open("/dev/zero"); err != nil {
			t.Fatal(err)
		}
	})
	if err := reused.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "/dev/zero") {
		t.Errorf("got %q, want the new file", got)
	}
}

func TestResidueRefusesAParallelTest(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("Residue worked in a parallel test")
		}
	}()
	Residue(t)
}

// addTAP makes a TAP device that outlives its descriptor.
func addTAP(t *testing.T, name string) {
	t.Helper()
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(tun) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(tun, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
}
