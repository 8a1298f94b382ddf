package box

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// virtiofsd is the one of QEMU 7.2, which Debian 12 has in qemu-system-common. Later
// ones are another program with other options.
const virtiofsd = "/usr/lib/qemu/virtiofsd"

// The emulator, and the package that has it.
const (
	qemu        = "qemu-system-x86_64"
	qemuPackage = "qemu-system-x86"
)

// Check says what this host lacks to run a machine.
func Check() error {
	if _, err := proc.Find(qemu, qemuPackage); err != nil {
		return err
	}
	if err := unix.Access(virtiofsd, unix.X_OK); err != nil {
		return fmt.Errorf("%s: %w (apt install qemu-system-common; it is that of Debian 12)", virtiofsd, err)
	}
	return nil
}

// share starts a virtiofsd that listens on the socket. The socket is made here, so
// that nobody has to wait until it is there.
func (m *Machine) share(s Share, socket string) error {
	info, err := os.Stat(s.Host)
	switch {
	case err != nil:
		return fmt.Errorf("share %s: %w", s.Host, err)
	case !info.IsDir():
		return fmt.Errorf("share %s: not a directory", s.Host)
	case strings.Contains(s.Host, ","):
		return fmt.Errorf("share %s: virtiofsd takes no path with a comma", s.Host)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	listening, err := l.File() // a duplicate
	if err = errors.Join(err, l.Close()); err != nil {
		return err
	}
	defer listening.Close()
	cache := "auto" // which forgets what a file holds whenever it is opened
	if s.Constant {
		cache = "always"
	}
	p, err := m.start(virtiofsd, []string{
		"--fd=0", "-f", "--thread-pool-size=0", "-o", "source=" + s.Host + ",cache=" + cache + ",sandbox=namespace,log_level=err",
	}, listening)
	if err == nil {
		m.sharers = append(m.sharers, p)
	}
	return err
}
