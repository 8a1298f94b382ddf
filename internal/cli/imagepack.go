package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
)

// envEpoch is the convention of https://reproducible-builds.org/docs/source-date-epoch.
const envEpoch = "SOURCE_DATE_EPOCH"

// packFlags are the flags of image pack.
type packFlags struct {
	baseimage.PackOptions

	rootfsType string
	size       mebibytes
}

func (a *app) imagePackCommand() *cobra.Command {
	f := &packFlags{}
	cmd := &cobra.Command{
		Use:   "pack --id ID --kernel PATH --rootfs PATH [--initrd PATH] -o DIR",
		Short: "Make an image that can be hosted, out of a kernel and a root file system",
		Long: `Make an image that can be hosted: a directory with a kernel, a root file system,
an initrd if there is one, and manifest.json, which has their hashes and sizes. It
is complete or not there, and its path is printed.

The root file system is a squashfs or ext4 image, which is taken as it is, or a
directory or a tar (plain or gzipped, - is standard input), of which one is made:
squashfs by default. Owners, modes, links, devices and extended attributes are
kept, and no root is needed for that. Squashfs needs squashfs-tools 4.5, ext4
needs e2fsprogs. ` + envEpoch + ` limits the times of files, for images that are
the same each time.

A kernel that has drivers as modules, as those of distributions have virtio, needs
the --initrd that was made for it; every VM of the image then boots with it.

An image is for the release of --firecracker-version, by default that of the
Firecracker that VMs use here.`,
		Example: `  smartvm image pack --id web-v3 --kernel vmlinux --rootfs rootfs.ext4 -o web-v3
  docker export web | smartvm image pack --id web-v3 --kernel vmlinux --rootfs - -o web-v3
  smartvm image pack --id db-v1 --kernel vmlinux --rootfs tree/ --type ext4 --size 2G --all-root -o db-v1
  smartvm image pack --id deb-v1 --kernel vmlinux --initrd /boot/initrd.img-6.1.0-cloud --rootfs rootfs.ext4 -o deb-v1
  smartvm run --image web-v3/manifest.json`,
		Args: a.noArgs,
		RunE: a.do(func(ctx context.Context, _ []string) error { return a.packImage(ctx, f) }),
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print the manifest instead of its path")
	return cmd
}

func (f *packFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.ID, "id", "", "the image's `ID`: letters, digits, '.', '_', '-'")
	flags.StringVar(&f.Name, "name", "", "its `NAME`, for people (default: the id)")
	flags.StringVar(&f.Kernel, "kernel", "", "the kernel's `PATH`: an uncompressed vmlinux, for aarch64 an Image")
	flags.StringVar(&f.Rootfs, "rootfs", "", "the root file system's `PATH`: an image, a directory, a tar, or -")
	flags.StringVar(&f.Initrd, "initrd", "", "the initrd's `PATH`, for a kernel that needs one")
	flags.StringVar(&f.rootfsType, "type", "", "the file `SYSTEM` to make: squashfs or ext4 (default squashfs)")
	flags.Var(&f.size, "size", "size of an ext4, such as 512M or 2G (default: the content and a quarter more)")
	flags.BoolVar(&f.AllRoot, "all-root", false, "all files belong to root")
	flags.StringVar(&f.BootArgs, "boot-args", "", "the kernel's command `LINE` (default: a serial console, and what fits the file system)")
	flags.StringVar(&f.Arch, "arch", "", "refuse a kernel for another `ARCH`: x86_64 or aarch64")
	flags.StringVarP(&f.Dir, "output", "o", "", "the `DIR` to make; it must not exist, or be empty")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]cobra.Completion{"squashfs", "ext4"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions([]cobra.Completion{"x86_64", "aarch64"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("id", cobra.NoFileCompletions) // these fail only for an unknown flag
}

func (a *app) packImage(ctx context.Context, f *packFlags) (err error) {
	opts, err := a.options()
	if err != nil {
		return err
	}
	o := f.PackOptions
	o.RootfsType, o.SizeMiB, o.Logger, o.Progress = baseimage.RootfsType(f.rootfsType), int64(f.size), opts.Logger, opts.Progress
	if o.Latest, err = sourceDate(); err != nil {
		return err
	}
	missing := map[string]string{}
	if o.FirecrackerVersion, err = a.packVersion(ctx, opts.FirecrackerVersion); err != nil {
		missing["firecrackerVersion"] = "is missing, and there is no Firecracker here that could tell"
	}
	if o.Rootfs == "-" {
		o.Rootfs = ""
		if isTerminal(a.stdin) {
			missing["rootfs"] = "- reads a tar, and standard input is a terminal"
		} else {
			o.Tar = a.stdin
		}
	}
	manifest, err := baseimage.Pack(ctx, o)
	switch {
	case errors.Is(err, smartvm.InvalidConfig):
		return usageError{inFlags(err, missing)}
	case err != nil:
		return err
	case a.asJSON:
		return a.printJSON(manifest)
	default:
		return a.print(filepath.Join(o.Dir, "manifest.json") + "\n")
	}
}

// packVersion is the release that an image is for.
func (a *app) packVersion(ctx context.Context, given firecracker.Version) (firecracker.Version, error) {
	if !given.IsZero() {
		return given, nil
	}
	found, err := a.findFirecracker(ctx, given)
	return found.Version, err
}

// sourceDate is the newest time that a file may have, zero when it does not matter.
func sourceDate() (time.Time, error) {
	text := os.Getenv(envEpoch)
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, badVariable(envEpoch, fmt.Errorf("%q is not a number of seconds", text))
	}
	return time.Unix(seconds, 0), nil
}

// inFlags names the flags where options were refused, and says why an option is
// missing where the command knows it better.
func inFlags(err error, missing map[string]string) error {
	flags := map[string]string{
		"dir": "output", "rootfsType": "type", "sizeMiB": "size", "firecrackerVersion": "firecracker-version", "bootArgs": "boot-args",
	}
	e, ok := errors.AsType[*smartvm.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Details = nil
	for _, d := range e.Details {
		d.Message = cmp.Or(missing[d.Field], d.Message)
		if flag, other := flags[d.Field]; other {
			d.Field = flag
		}
		d.Field = "--" + d.Field
		named.Details = append(named.Details, d)
	}
	return &named
}
