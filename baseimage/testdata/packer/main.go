// Command packer is a process that packs, for tests that kill one.
//
//	packer bundle KERNEL ROOTFS DIR
//	packer rootfs ROOTFS PATH
//
// A ROOTFS of - is a tar on standard input.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb string, args []string) error {
	if verb == "rootfs" {
		return baseimage.PackRootfs(ctx, args[1], rootfs(args[0]))
	}
	_, err := baseimage.Pack(ctx, baseimage.PackOptions{
		ID: "killed", FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1},
		Kernel: args[0], RootfsOptions: rootfs(args[1]), Dir: args[2],
	})
	return err
}

func rootfs(source string) baseimage.RootfsOptions {
	if source == "-" {
		return baseimage.RootfsOptions{Tar: os.Stdin}
	}
	return baseimage.RootfsOptions{Rootfs: source}
}
