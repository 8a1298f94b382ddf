// Command lab runs things on a whole host in a box: an emulated x86_64 machine with a
// kernel of its own, /dev/kvm, TUN, nf_tables, WireGuard and cgroups, in which the
// real Firecracker boots real Linux guests. The host needs nothing but Debian 12 and
// root; see docs/lab.md.
//
//	lab build                 make what the machine and the guests boot from
//	lab run [FLAG]... -- COMMAND [ARG]...
//	lab shell [FLAG]...
//	lab test [FLAG]... PACKAGE[=REGEXP]...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	// The kernel ends what was started when the thread ends that has started it.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `usage: lab VERB

  build                        make what the machine and the guests boot from
  run [FLAG]... -- COMMAND...  run a command in the machine
  shell [FLAG]...              an interactive shell in the machine
  test [FLAG]... PACKAGE...    run Go tests in the machine; PACKAGE=REGEXP is -run for one package
  verify [FLAG]...             run the whole suite, and write docs/verified.md

lab VERB -h lists the flags of a verb.
`

// Exit codes beyond those of commands, as of timeout(1) and docker run.
const (
	exitUsage     = 2
	exitTimeout   = 124
	exitFailed    = 125 // the lab itself
	exitInterrupt = 130
)

// lab is one call of the program.
type lab struct {
	stdin, stdout, stderr *os.File
}

func run(args []string, stdin, stdout, stderr *os.File) int {
	l := &lab{stdin, stdout, stderr}
	verbs := map[string]func(context.Context, []string) (int, error){
		"build": l.build, "run": l.run, "shell": l.shell, "test": l.test, "verify": l.verify,
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		l.say("%s", usage)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	code, err := verbs[args[0]](ctx, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errTimeout):
		l.say("lab: %v\n", err)
		return exitTimeout
	case ctx.Err() != nil:
		return exitInterrupt
	case errors.As(err, new(usageError)):
		l.say("lab %s: %v\n", args[0], err)
		return exitUsage
	case err != nil:
		l.say("lab: %v\n", err)
		return exitFailed
	}
	return code
}

// say tells the person who watches. If nobody can, nothing is lost.
func (l *lab) say(format string, args ...any) { _, _ = fmt.Fprintf(l.stderr, format, args...) }

// usageError is a mistake on the command line.
type usageError struct{ error }
