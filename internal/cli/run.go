package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
)

// runFlags are the flags of run.
type runFlags struct {
	file, name, image, from, kernel, initrd, bootArgs, metadata string

	vcpus  wholeNumber
	memory mebibytes
	drives driveFlags
	vsock  vsockFlag
	net    netFlags

	detach bool
	noJail bool
	limit  limitFlag
	// Not flags: the other arguments.
	hello   bool
	words   []string          // after --
	changed func(string) bool // whether a flag was given
}

func (a *app) runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run [hello | --image IMAGE | -f FILE | --from SNAPSHOT] [flags] [-- BOOT-ARG...]",
		Short: "Boot a VM and show its serial output",
		Long: `Boot a VM: the built-in guest hello, an image, the one that a VM file describes, or
the kernel that --kernel names. Flags override the file; drives, TAPs and words
after -- are added to what it has. With --from nothing boots: the guest of a snapshot
goes on where it was (smartvm help restore).

An image is latest, lts, the URL or path of a manifest, or an id; see smartvm
image. It is fetched if it is not in the cache, and so is the Firecracker release
that it is for, unless --firecracker gives one. Its boot arguments are used, with
the words after -- behind them, and so is its initrd, unless --initrd gives another
one. The VM has 512 MiB unless --memory says else.

The guest's serial output, and nothing else, goes to standard output; standard
input goes to the guest, line by line. The command ends with the guest and
leaves nothing behind. Ctrl+C stops the guest, a second Ctrl+C kills it. The exit
code is 0 when the guest ended, also by Ctrl+C, and 1 when Firecracker failed.
A guest ends by a reboot: on x86_64 one that powers off only stands still.

As root, Firecracker runs in a jail: as a user of its own, without capabilities, and
with no files but those of its VM. Everything works as it would without. --no-jail
switches it off.

With --detach the command prints the VM's name and ends as soon as the guest
runs. What such a VM leaves stays, for logs and inspect, until rm or gc.

A writable drive is copied for the VM and the copy is gone with it, unless it
says persist. A drive is PATH[,OPTION...] with the options
  ro         the guest can't write
  root       the guest's root device
  persist    the guest writes to the file itself
  id=NAME    its id: letters, digits, _ (default: rootfs, drive1, drive2, ...)
A VM file is JSON or YAML, with the keys of Firecracker's --config-file.

--net gives the guest an interface on the default network, --net=NETWORK on another
one (smartvm help net); --net none takes interfaces away. The kernel is told its
address by ip=. The guest reaches what this host reaches, but neither the host nor
other guests. Without root the network is that of the user's pool, which root makes
once (smartvm help setup). The other flags about networks imply --net:
  -p [HOSTIP:]HOSTPORT:GUESTPORT[/udp]
             HOSTIP is the address of this host that is listened on; default:
             127.0.0.1, so that only this host can connect; 0.0.0.0: all
  --allow, --deny DEST[:PORTS][/PROTO]
             DEST is an address, a prefix or *; as in 1.1.1.1:53/udp, *:80,443 or
             10.0.0.0/8. The first rule that matches counts. With an --allow what no
             rule matches is denied. With --egress the file's rules come behind.`,
		Example: `  smartvm run hello
  smartvm run hello -- hello.stay
  smartvm run --image latest
  smartvm run --image ./manifest.json --memory 1G -- init=/bin/sh
  smartvm run -f vm.yaml --memory 2G --name web --detach
  smartvm run --from warm
  smartvm run --kernel vmlinux --drive rootfs.ext4,root --drive data.img,persist
  smartvm run --kernel vmlinux --initrd initrd.cpio --tap tap0 --vsock 3:vm.sock
  smartvm run --image latest --net -p 8080:80
  smartvm run --image latest --allow 1.1.1.1:53/udp --allow '*:443'
  smartvm run --image latest --wireguard ./wg0.conf
  smartvm run --image latest --limit cpu=1.5,memory=1G,pids=32`,
		Args: f.arguments,
	}
	cmd.RunE = a.withOptions(func(opts *smartvm.Options) error { return f.options(a, opts) },
		func(ctx context.Context, m *smartvm.Manager, _ []string) error { return a.run(ctx, m, f) })
	f.register(a, cmd)
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "with --detach: print an object instead of the name")
	a.offlineFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("image", a.completeImages(0, cobra.ShellCompDirectiveDefault, presetWords...)) // as above
	cmd.ValidArgs = []string{"hello\tthe built-in guest"}
	return cmd
}

func (f *runFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	f.changed = flags.Changed
	flags.StringVar(&f.image, "image", "", "an `IMAGE`: latest, lts, a manifest or an id, see above")
	flags.StringVar(&f.from, "from", "", "go on with the guest of a `SNAPSHOT`")
	flags.StringVarP(&f.file, "file", "f", "", "a VM `FILE`, JSON or YAML; - is standard input")
	flags.BoolVarP(&f.detach, "detach", "d", false, "leave the VM running and print its name")
	flags.StringVar(&f.name, "name", "", "the VM's `NAME`: letters, digits, - (default: generated)")
	f.vcpus = 1
	flags.Var(&f.vcpus, "vcpus", "number of vCPUs")
	flags.Var(&f.memory, "memory", "memory, such as 512 (MiB), 512M or 2G (default: 128M, with --image 512M)")
	flags.StringVar(&f.kernel, "kernel", "", "the guest's kernel `PATH`: an uncompressed ELF file")
	flags.StringVar(&f.initrd, "initrd", "", "the guest's initrd `PATH` (default: that of the image or file)")
	flags.StringVar(&f.bootArgs, "boot-args", "", "the kernel's command `LINE` (default: that of the image; with --kernel: "+defaultBootArgs+")")
	flags.Var(&f.drives, "drive", "add a drive, see above; can be repeated")
	f.net.register(a, cmd)
	flags.Var(&f.vsock, "vsock", "add a vsock device with this socket on the host; CID is 3 if left out")
	flags.BoolVar(&f.noJail, "no-jail", false, "run Firecracker as root and without its jailer; for tests")
	flags.Var(&f.limit, "limit", "limit what the VM takes from this host: cpu=1.5 (cores), weight=50 (of 100), memory=1G (with Firecracker's own), pids=64; can be repeated")
	flags.StringVar(&f.metadata, "metadata", "", "metadata for the guest (MMDS): a `JSON` object, @FILE, or - for standard input")
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions) // it fails only for an unknown flag
}

// options puts what the flags say about the manager into its options.
func (f *runFlags) options(a *app, opts *smartvm.Options) error {
	a.jailOption(opts, f.noJail)
	return f.net.options(a, opts)
}

// jailOption switches the jail off where that was asked for, and says what it means.
func (a *app) jailOption(opts *smartvm.Options, off bool) {
	opts.Jail.Off = opts.Jail.Off || off
	if opts.Jail.Off && os.Geteuid() == 0 {
		a.say("warning: Firecracker runs as root, without a jail: a guest that breaks out of it has this host")
	}
}

// arguments sorts out what is before and after --.
func (f *runFlags) arguments(cmd *cobra.Command, args []string) error {
	guests := args
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		guests, f.words = args[:dash], args[dash:]
	}
	guests, err := f.net.arguments(guests)
	if err != nil {
		return err
	}
	switch {
	case len(guests) > 1 && f.net.net == netDefault:
		return fmt.Errorf("%q is one argument too many: a network is named by --net=%[1]s", guests[1])
	case len(guests) > 1:
		return fmt.Errorf("%q is one argument too many: words for the guest's kernel come after --", guests[1])
	case len(guests) == 1 && guests[0] != "hello" && f.net.net == netDefault:
		return fmt.Errorf("%q is not a built-in guest, hello is: a network is named by --net=%[1]s", guests[0])
	case len(guests) == 1 && guests[0] != "hello":
		return fmt.Errorf("%q is not a built-in guest, hello is: use --image IMAGE, -f FILE or --kernel PATH for others", guests[0])
	}
	f.hello = len(guests) == 1
	sources := 0
	for _, given := range []bool{f.hello, f.changed("image"), f.changed("from"), f.file != "", f.kernel != "" && f.file == ""} {
		if given {
			sources++
		}
	}
	switch {
	case sources == 0:
		return errors.New("what to run is missing: hello, --image IMAGE, -f FILE, --kernel PATH, or --from SNAPSHOT")
	case sources > 1:
		return errors.New("hello, --image, -f FILE, --kernel and --from exclude each other, but for --kernel with -f")
	case f.changed("from") && len(f.words) > 0:
		return fmt.Errorf("%q is for a kernel that boots, and the guest of a snapshot has booted", f.words[0])
	case f.changed("from") && f.setInSnapshot() != "":
		return fmt.Errorf("--%s can't be changed any more: the snapshot has it", f.setInSnapshot())
	case f.file == "-" && f.metadata == "-":
		return errors.New("-f and --metadata can't both read standard input")
	case cmd.Flags().Changed("json") && !f.detach:
		return errors.New("--json needs --detach: in the foreground only the guest's output is printed")
	case f.name != "":
		return validName(f.name)
	}
	return nil
}

// setInSnapshot is a flag that was given and has no meaning for a guest that goes on.
func (f *runFlags) setInSnapshot() string {
	for _, name := range []string{
		"vcpus", "memory", "initrd", "boot-args", "drive", "vsock", "limit", "net", "tap", "publish", "allow", "deny", "egress", "subnet", "wireguard",
	} {
		if f.changed(name) {
			return name
		}
	}
	return ""
}

func (a *app) run(ctx context.Context, m *smartvm.Manager, f *runFlags) error {
	if f.changed("from") {
		vm, err := m.Restore(ctx, f.from, smartvm.RestoreOptions{ID: f.name})
		if err != nil {
			return err
		}
		return a.attend(ctx, m, vm, f.detach)
	}
	config, err := a.runConfig(ctx, m, f)
	if err != nil {
		return err
	}
	vm, err := m.CreateVM(f.name, *config)
	if errors.Is(err, smartvm.InvalidConfig) && f.file == "" {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if err := vm.Start(ctx); err != nil {
		return err
	}
	return a.attend(ctx, m, vm, f.detach)
}

// detach leaves the VM to a keeper: this program again, as console-keeper.
func (a *app) detach(ctx context.Context, m *smartvm.Manager, vm *smartvm.VM) error {
	self, err := os.Executable()
	if err == nil {
		err = vm.Detach(ctx, a.keeperArgs(self, m, vm))
	}
	if err == nil && a.asJSON {
		return a.printJSON(struct {
			ID     string        `json:"id"`
			State  smartvm.State `json:"state"`
			Dir    string        `json:"dir"`
			Socket string        `json:"socket"`
		}{vm.ID(), vm.State(), vm.Dir(), vm.SocketPath()})
	}
	if err == nil {
		return a.print(vm.ID() + "\n")
	}
	return errors.Join(err, vm.Cleanup(context.WithoutCancel(ctx)))
}
