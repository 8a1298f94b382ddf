package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestRootIsWhatTheKernelWasTold(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]root{
		"console=ttyS0 quiet\n":                                   {flags: unix.MS_RDONLY},
		"root=/dev/vda ro rootfstype=squashfs\n":                  {"/dev/vda", "squashfs", unix.MS_RDONLY},
		"ro rootfstype=ext4 rw root=/dev/vda":                     {"/dev/vda", "ext4", 0},
		"rootfstype=ext4 rw root=/dev/vda ro":                     {"/dev/vda", "ext4", unix.MS_RDONLY},
		"rw root=/dev/vda virtio_mmio.device=4K@0xd0001000:6 x=y": {"/dev/vda", "", 0},
	} {
		if got := parseRoot(line); got != want {
			t.Errorf("%q: got %+v, want %+v", line, got, want)
		}
	}
}
