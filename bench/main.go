// Command bench measures what smartvm costs against the least that its host
// allows, in one run: the arms take turns in random order with a random gap
// between them, so that all of them see the same load and none locks to the
// tick of the kernel's clock.
//
//	go run ./bench -firecracker /usr/bin/firecracker -json bench.json
//
// On a host that others use, run it with real-time priority: it and its VMs
// then wait for nobody, and hardly use the processors for more than moments.
// (A nice level is no help: each VM has a session of its own, and so, with
// sched_autogroup_enabled, a share of its own.)
//
//	go build -o smartvm-bench ./bench && chrt -r 1 ./smartvm-bench -firecracker /usr/bin/firecracker
//
// It needs /dev/kvm and a Firecracker; reflinks on xfs need root and mkfs.xfs
// as well, and are left out without. So are networks, which need root: they are
// measured by a second process of this program in a network namespace of its
// own, so that the host's network is never touched. Their parts can be had one
// by one: -arms taps,rules,stream,net-starts. Flags say how many TAPs there are
// in a batch (-taps) and how long a stream is (-stream); -quick makes all small.
//
// Jails need root and the jailer that is beside Firecracker. All other arms start
// Firecracker without one. What belongs to VMs must be on a file system that allows
// programs and devices, neither noexec nor nodev: the raw jails would not work there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the command line says.
type options struct {
	n           int
	rounds      int
	fleet       int
	concurrency int
	crowd       int
	copies      int
	taps        int
	stream      int
	arms        []string
	json        string
	firecracker string
	disk        string
	memory      string
	seed        uint64
	progress    io.Writer
}

func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		say(stderr, "bench: %v", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if isolated() {
		err = serve(ctx, opts, stdout)
	} else {
		err = publish(ctx, opts, stdout)
	}
	if err != nil {
		say(stderr, "bench: %v", err)
		return 1
	}
	return 0
}

func publish(ctx context.Context, opts *options, stdout io.Writer) error {
	report, err := measure(ctx, opts)
	if err == nil {
		err = report.print(stdout)
	}
	if err == nil && opts.json != "" {
		err = report.save(opts.json)
	}
	return err
}

// say writes a line for whoever watches. If nobody can, the numbers still count.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{progress: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.n, "n", 200, "starts of one VM per arm; single TAPs, tables of rules and streams per way")
	flags.IntVar(&o.rounds, "rounds", 10, "fleets per arm, and batches of TAPs per way")
	flags.IntVar(&o.fleet, "fleet", 200, "VMs in a fleet")
	flags.IntVar(&o.concurrency, "concurrency", 32, "VMs of a fleet that start at the same time")
	flags.IntVar(&o.crowd, "crowd", 100, "jailed VMs that start at the same time")
	flags.IntVar(&o.copies, "copies", 20, "copies per way of staging, and turns per way with images; the mean leaves none out below 20")
	flags.IntVar(&o.taps, "taps", 500, "TAPs in the larger batch; the smaller one has a fifth of them")
	flags.IntVar(&o.stream, "stream", 8, "`MiB` in a stream of small packets; one of large packets has four times as many")
	arms := flags.String("arms", "", "comma-separated arms or families to run, default all: "+strings.Join(armNames(), ", "))
	flags.StringVar(&o.json, "json", "", "also write the results to this `file`")
	flags.StringVar(&o.firecracker, "firecracker", os.Getenv("SMARTVM_FIRECRACKER"), "Firecracker `path`")
	flags.StringVar(&o.disk, "disk", os.TempDir(), "`directory` on a disk, for staging")
	flags.StringVar(&o.memory, "memory", "/dev/shm", "`directory` on a tmpfs, for what belongs to VMs")
	flags.Uint64Var(&o.seed, "seed", 1, "of the order and the gaps")
	quick := flags.Bool("quick", false, "a short run that proves that all arms work, and no more")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		o.n, o.rounds, o.fleet, o.concurrency, o.crowd, o.copies, o.taps, o.stream = 5, 1, 8, 4, 8, 1, 20, 2
	}
	if o.firecracker == "" {
		return nil, errors.New("say where Firecracker is: -firecracker, or SMARTVM_FIRECRACKER")
	}
	if o.n < 1 || o.rounds < 1 || o.fleet < 1 || o.concurrency < 1 || o.crowd < 1 || o.copies < 1 || o.taps < 2 || o.stream < 1 {
		return nil, errors.New("every count must be at least 1, and that of TAPs 2")
	}
	if *arms != "" {
		o.arms = strings.Split(*arms, ",")
	}
	for _, name := range o.arms {
		if !slices.Contains(armNames(), name) {
			return nil, fmt.Errorf("there is no arm %q; there are %s", name, strings.Join(armNames(), ", "))
		}
	}
	return o, nil
}

func armNames() []string {
	names := []string{
		oneFamily, armFloor, armFair, armReady, armPuts, armPipeline, armSmartvm, fleetFamily,
		jailFamily, armRawJailed, armSmartJailed, armPrivate, crowdPart,
		restoreFamily, armRawLoad, armRestore, clonesPart, createPart, memoryPart, stageFamily, imagesFamily, networkFamily,
	}
	return append(names, networkParts()...)
}

// wants reports whether one of the names, an arm's and its family's, was asked for.
func (o *options) wants(names ...string) bool {
	return len(o.arms) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(o.arms, name) })
}

// measure runs all families and leaves nothing behind, also when it fails.
func measure(ctx context.Context, opts *options) (report *report, err error) {
	l, err := openLab(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	report = newReport(l)
	for _, family := range []func(context.Context, *lab, *options) error{report.one, report.fleets, report.jail, report.restores, report.staging, report.images, report.network} {
		if err := family(ctx, l, opts); err != nil {
			return nil, err
		}
	}
	report.finish()
	return report, nil
}
