package main

import (
	"context"
	"errors"
	"flag"
	"time"
)

// build makes everything, with the newest kernel, and drops what is not used any more.
func (l *lab) build(ctx context.Context, args []string) (int, error) {
	flags := l.flags("build")
	if err := parse(flags, args); err != nil {
		return 0, err
	}
	if flags.NArg() > 0 {
		return 0, usageError{errors.New("it takes no arguments")}
	}
	began := time.Now()
	p, err := l.machineParts(ctx, true)
	if err != nil {
		return 0, err
	}
	l.say("kernel   %s\nmachine  %s\nguests   %s\nready after %.1f s\n", p.kernel.Dir, p.machine, p.kit, time.Since(began).Seconds())
	return 0, p.store.Prune(ctx)
}

func (l *lab) flags(verb string) *flag.FlagSet {
	flags := flag.NewFlagSet("lab "+verb, flag.ContinueOnError)
	flags.SetOutput(l.stderr)
	return flags
}

// parse leaves it to the flags to say what is wrong.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return usageError{err}
	}
	return err
}
