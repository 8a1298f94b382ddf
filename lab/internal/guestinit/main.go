// Guestinit is the first process of the guests that tests boot, twice: in the
// initrd it loads what the root file system needs, and in the root file system it
// runs the commands that tests send over the serial console. As "vsock" it is a
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
	if filepath.Base(os.Args[0]) == "vsock" {
		if err := vsock(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "vsock:", err)
			os.Exit(1)
		}
		return
	}
	err := run()
	fmt.Fprintln(os.Stderr, "guestinit:", err)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // Firecracker ends
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
