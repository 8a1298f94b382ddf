// Guestinit is the first process of the guests that tests boot, twice: in the
// initrd it loads what the root file system needs, and in the root file system it
// runs the commands that tests send over the serial console. By other names it is a
// tool for those commands.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/guestline"
)

func main() {
	name := filepath.Base(os.Args[0])
	is, err := tool(name, os.Args[1:])
	switch {
	case is && err == nil:
		return
	case is:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	err = run()
	fmt.Fprintln(os.Stderr, "guestinit:", err)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // Firecracker ends
}

// tool is what the program is by other names.
func tool(name string, args []string) (is bool, err error) {
	switch name {
	case "vsock":
		return true, vsock(args)
	case "udp":
		return true, udp(args)
	case "frame":
		return true, frame(args)
	}
	return false, nil
}

// run returns only with an error.
func run() error {
	if _, err := os.Stat(guestline.PlanPath); err != nil {
		return serve()
	}
	if err := mountRoot(); err != nil {
		return err
	}
	const program = "/sbin/init"
	return &os.PathError{Op: "exec", Path: program, Err: unix.Exec(program, []string{program}, os.Environ())}
}
