package e2e_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestCommandTakesALinuxGuestThroughItsLife(t *testing.T) {
	claims(t, "S5.5", "smartvm run -f boots a Linux guest of a VM file, with an initrd by --initrd, and --detach leaves it to itself")
	claims(t, "S4.3", "smartvm pause, resume, stop and rm rule a guest that another smartvm has started")
	claims(t, "S4.10", "smartvm ps, inspect, logs, wait and gc tell what a guest does, what it has said, and how it has ended")
	claims(t, "S1.3", "smartvm console is the guest's serial console, on a terminal")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	initrd := config.BootSource.InitrdPath
	config.BootSource.InitrdPath = ""
	file := vmFile(t, config)
	t.Cleanup(func() { // only a test that has failed leaves it
		p := s.command("rm", "-f", "web")
		_ = p.Run()
	})
	if got := s.smartvm("run", "-f", file, "--initrd", initrd, "--detach", "--name", "web"); got != "web" {
		t.Errorf("run prints %q", got)
	}
	logs := s.command("logs", "-f", "web")
	logs.start()
	must(t, logs.stdout.await(patient(t), "@ready squashfs"))
	s.shows("running")

	console := s.terminal("console", "web")
	console.types(`run 1 "uname -s"` + "\n")
	must(t, console.stdout.await(patient(t), `@1 out "Linux\n"`))
	console.types("\x1d") // Ctrl+] leaves
	console.succeed()

	s.smartvm("pause", "web")
	s.shows("paused")
	s.smartvm("resume", "web")
	s.shows("running")
	var web struct {
		State  smartvm.State   `json:"state"`
		PID    int             `json:"pid"`
		Config vmconfig.Config `json:"config"`
	}
	must(t, json.Unmarshal([]byte(s.smartvm("inspect", "web")), &web))
	if web.State != smartvm.Running || unix.Kill(web.PID, 0) != nil || web.Config.BootSource.InitrdPath != initrd {
		t.Errorf("inspect shows %+v", web)
	}
	if got := s.smartvm("gc"); got != "" {
		t.Errorf("gc removes what runs: %s", got)
	}

	s.smartvm("stop", "web", "--time", "120")
	if got := s.smartvm("wait", "web"); !strings.HasPrefix(got, "web: stopped, ") {
		t.Errorf("wait prints %q", got)
	}
	if got := logs.succeed(); !strings.Contains(got, `@1 out "Linux\n"`) {
		t.Errorf("logs -f ends with %q", got)
	}
	s.shows("stopped")
	if got := s.smartvm("gc", "--dry-run"); !strings.HasPrefix(got, "would remove web: its Firecracker has ended\n") {
		t.Errorf("gc prints %q", got)
	}
	s.smartvm("rm", "web")
	if got := s.smartvm("ps", "-q"); got != "" {
		t.Errorf("still there: %s", got)
	}
}

func TestCommandBootsADistributionsKernelOutOfAnImage(t *testing.T) {
	claims(t, "S8.5", "smartvm run --image MANIFEST boots a Linux guest of Debian's stock kernel, which has virtio as modules, with the initrd of a packed image")
	s := newSite(t, smartvm.Options{})
	p := s.command("run", "--image", s.kit.Manifest(baseimage.Squashfs))
	keyboard, err := p.StdinPipe()
	must(t, err)
	p.start()
	must(t, p.stdout.await(patient(t), "@ready squashfs"))
	_, err = keyboard.Write([]byte(`run 1 "cut -d' ' -f1 /proc/modules | grep -x virtio_mmio"` + "\n"))
	must(t, err)
	must(t, p.stdout.await(patient(t), `@1 out "virtio_mmio\n"`))
	var images []baseimage.Status
	must(t, json.Unmarshal([]byte(s.smartvm("image", "ls", "--json")), &images))
	if len(images) != 1 || !images[0].InUse || images[0].Initrd.SizeBytes == 0 {
		t.Errorf("the cache has %+v, want one image, in use and with an initrd", images)
	}
	must(t, p.Process.Signal(unix.SIGINT)) // Ctrl+C, which stops the guest
	p.succeed()
	if got := s.smartvm("ps", "-q"); got != "" {
		t.Errorf("still there: %s", got)
	}
	s.smartvm("image", "rm", images[0].ID)
}

// shows wants ps to show the VM web, in a state.
func (s *site) shows(state string) {
	s.t.Helper()
	want := regexp.MustCompile(`\A.*\nweb +` + state + ` +\S+ .* 128 MiB .*\z`)
	if got := s.smartvm("ps"); !want.MatchString(got) {
		s.t.Errorf("ps prints\n%s", got)
	}
}

// terminal is a command on a terminal that a test types at.
type terminal struct {
	*process

	keyboard *os.File
}

// terminal starts a command that uses a VM's console, and waits until it does.
func (s *site) terminal(args ...string) *terminal {
	s.t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, keyboard.Close()) })
	must(s.t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	must(s.t, err)
	line, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(s.t, err)
	defer line.Close()
	p := &terminal{s.command(args...), keyboard}
	p.Stdin = line
	p.start()
	must(s.t, p.stderr.await(patient(s.t), "connected to"))
	return p
}

// types types.
func (p *terminal) types(keys string) {
	p.t.Helper()
	_, err := p.keyboard.WriteString(keys)
	must(p.t, err)
}
