// Labinit is the first process of the lab's emulated machine. It loads the modules
// that the machine needs, makes a root file system in memory, mounts what is
// shared with it, and runs the commands that the lab program sends.
//
// It is a single program that forks for nothing but those commands: each fork and
// exec of a shell script costs some 50 ms in an emulator.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/link"
)

func main() {
	if err := run(); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "labinit:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "labinit: power off:", err) // and the kernel panics
}

// run serves the lab program until it is gone, which is io.EOF.
func run() error {
	if err := boot(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	conn := link.New(port)
	if err := conn.SendJSON(link.Hello, link.Greeting{UptimeSeconds: uptime()}); err != nil {
		return err
	}
	var settings link.Settings
	if err := conn.Expect(link.Setup, &settings); err != nil {
		return err
	}
	if err := setUp(settings); err != nil {
		return errors.Join(err, conn.Send(link.Failed, []byte(err.Error())))
	}
	if err := conn.Send(link.Ready, nil); err != nil {
		return err
	}
	s := &server{conn: conn, shares: settings.Shares, frames: make(chan frame)}
	go s.receive()
	return s.serve()
}

// uptime is the machine's, in seconds.
func uptime() float64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return float64(now.Nano()) / 1e9
}
