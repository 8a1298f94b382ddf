package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestGuestGetsRandomNumbersAndIsMeasuredAndLogged(t *testing.T) {
	claims(t, "S5.1", "A guest with the entropy device has it as its source of random numbers, and gets them from it")
	claims(t, "S5.1", "Metrics that are flushed go to the file of the configuration, as lines of JSON that count what the guest has done since the last")
	claims(t, "S5.1", "Firecracker's log goes to the file of the configuration and has what its level says: at Info each request, and none by default")
	claims(t, "S5.1", "Firecracker's log is never on the guest's console, however much there is of both")
	s := newSite(t, smartvm.Options{})
	dir := t.TempDir()
	config := s.config(baseimage.Squashfs)
	config.Drives = append(config.Drives, drive("disk", disk(t, "disk", 1)))
	config.Entropy = &firecracker.Entropy{}
	config.Metrics = &firecracker.Metrics{MetricsPath: filepath.Join(dir, "metrics")}
	config.Logger = &firecracker.Logger{LogPath: filepath.Join(dir, "log"), Level: "Info", ShowLevel: true}
	vm, g := s.boot(config)

	before := flush(t, vm, config.Metrics.MetricsPath)
	if got := output(t, g, "cat /sys/class/misc/hw_random/rng_current"); got != "virtio_rng.0" {
		t.Errorf("its source of random numbers is %q", got)
	}
	const two = "for i in 1 2; do head -c 32 /dev/hwrng | sha256sum; done"
	if got := strings.Fields(output(t, g, two)); len(got) != 4 || got[0] == got[2] || strings.HasPrefix(got[0], hash(nil)) {
		t.Errorf("the random numbers are %q", got)
	}
	output(t, g, "dd if=/dev/zero of=/dev/vdb bs=64k count=16 oflag=direct status=none")
	after := flush(t, vm, config.Metrics.MetricsPath)
	if before.Disk.WriteBytes != 0 || after.Disk.WriteBytes != 1<<20 || after.Disk.WriteCount == 0 {
		t.Errorf("the disk's metrics are %+v, and before the guest's write %+v", after.Disk, before.Disk)
	}
	if after.Entropy.Bytes < 64 {
		t.Errorf("the guest has got random numbers, and the metrics are %+v", after.Entropy)
	}
	if again := flush(t, vm, config.Metrics.MetricsPath); again.Disk.WriteBytes != 0 {
		t.Errorf("the metrics count a write twice: %+v", again.Disk)
	}

	const lines = 200
	task, err := g.Start(patient(t), "seq 1 200")
	must(t, err)
	for range lines {
		_, err := vm.Info(patient(t))
		must(t, err)
	}
	result, err := task.Wait(patient(t))
	must(t, err)
	if got := strings.Fields(result.Stdout); len(got) != lines {
		t.Errorf("%d lines of the guest's console came through, of %d", len(got), lines)
	}
	console, err := vm.OpenConsole(patient(t), smartvm.ConsoleOptions{})
	must(t, err)
	text, err := io.ReadAll(console)
	must(t, err)
	must(t, console.Close())
	if line := logged.Find(text); line != nil {
		t.Errorf("the console has a line of Firecracker's log: %q", line)
	}
	if n := requests(t, config.Logger.LogPath); n < lines {
		t.Errorf("at Info the log has %d requests, of %d", n, lines)
	}
	shutDown(t, vm)
	wantQuietLog(t, s, config, filepath.Join(dir, "quiet"))
}

// logged is what each line of Firecracker's log begins with.
var logged = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+ \[.*`)

// requests counts those in a log.
func requests(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	n := 0
	for _, line := range logged.FindAllString(string(text), -1) {
		if strings.Contains(line, ":INFO]") && strings.Contains(line, "Get request") {
			n++
		}
	}
	return n
}

// wantQuietLog wants a log with no request in it where no level is given. Firecracker
// alone is enough for that: it needs no guest.
func wantQuietLog(t *testing.T, s *site, config vmconfig.Config, path string) {
	t.Helper()
	config.Logger, config.Metrics = &firecracker.Logger{LogPath: path, ShowLevel: true}, nil
	vm, err := s.manager.CreateVM("", config)
	must(t, err)
	must(t, vm.Launch(patient(t)))
	_, err = vm.Info(patient(t))
	must(t, errors.Join(err, vm.Cleanup(patient(t))))
	if n := requests(t, path); n != 0 {
		t.Errorf("the log has %d requests, and nobody wanted any", n)
	}
}

// metrics are some of those that Firecracker writes (docs/metrics.md).
type metrics struct {
	Disk struct {
		WriteBytes int `json:"write_bytes"`
		WriteCount int `json:"write_count"`
	} `json:"block_disk"`
	Entropy struct {
		Bytes int `json:"entropy_bytes"`
	} `json:"entropy"`
}

// flush has metrics written, and returns the sum of what is new: each minute there is
// a line that nobody has asked for.
func flush(t *testing.T, vm *smartvm.VM, path string) (sum metrics) {
	t.Helper()
	old, err := os.ReadFile(path)
	must(t, err)
	client, err := vm.Client()
	must(t, err)
	must(t, client.FlushMetrics(patient(t)))
	text, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Split(string(text[len(old):]), "\n")
	if len(lines) < 2 {
		t.Fatal("a flush has added no line of metrics")
	}
	for _, line := range lines[:len(lines)-1] {
		var m metrics
		must(t, json.Unmarshal([]byte(line), &m))
		sum.Disk.WriteBytes += m.Disk.WriteBytes
		sum.Disk.WriteCount += m.Disk.WriteCount
		sum.Entropy.Bytes += m.Entropy.Bytes
	}
	return sum
}
