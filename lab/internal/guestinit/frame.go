package main

import (
	"encoding/hex"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// frame is a tool for commands of tests, for what no well-behaved program sends:
//
//	frame DEVICE HEX [HEX]     send Ethernet frames out, as many as there are
func frame(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: frame DEVICE HEX [HEX]")
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	device, err := unix.NewIfreq(args[0])
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, device); err != nil {
		return os.NewSyscallError("look up "+args[0], err)
	}
	for _, text := range args[1:] {
		data, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, data, 0, &unix.SockaddrLinklayer{Ifindex: int(device.Uint32())}); err != nil {
			return os.NewSyscallError("send", err)
		}
	}
	return nil
}
