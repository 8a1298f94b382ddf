// Installer does one thing that a store does, to be killed on the way.
//
//	installer DATA release URL VERSION
//	installer DATA blank NAME
//	installer DATA clone SOURCE NAME
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, data, what string, args []string) error {
	opts := image.Options{DataDir: data}
	if what == "release" {
		opts.ReleaseURL = args[0]
	}
	store, err := image.NewStore(opts)
	if err != nil {
		return err
	}
	switch what {
	case "release":
		v, err := firecracker.ParseVersion(args[1])
		if err != nil {
			return err
		}
		_, err = store.DownloadFirecracker(ctx, v)
		return err
	case "blank":
		_, err = store.CreateBlankRootfs(ctx, args[0], image.MinBlankMiB)
	case "clone":
		_, err = store.CloneRootfs(ctx, args[0], args[1])
	}
	return err
}
