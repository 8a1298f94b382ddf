package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/link"
)

// testRun is one call of lab test.
type testRun struct {
	session

	direct   bool
	machines int
	limit    time.Duration
	build    []string // flags of go list and go test -c
	flags    []string // of the test programs
}

// Test flags that are passed on: those with a value, and those without.
var (
	valueFlags = map[string]string{
		"run": "run only tests that match this `regexp`", "skip": "leave out tests that match this `regexp`",
		"count": "run each test `N` times", "parallel": "run at most `N` tests at the same time",
		"shuffle": "random order: on, off or a `seed`", "bench": "also run benchmarks that match this `regexp`",
	}
	boolFlags = map[string]string{
		"v": "print the name of each test", "short": "leave out long tests", "failfast": "stop a package at its first failure",
	}
)

func (t *testRun) register(flags *flag.FlagSet) {
	t.session.register(flags, "share")
	flags.DurationVar(&t.limit, "timeout", 10*time.Minute, "panic if a package takes longer")
	flags.IntVar(&t.machines, "machines", 1, "boot `N` machines, each of which takes the next test when it has done one")
	flags.BoolVar(&t.direct, "direct", false, "run on this host, whose /dev/kvm boots Linux, and not in the machine")
	flags.Func("tags", "build `tags`", func(tags string) error {
		t.build = append(t.build, "-tags="+tags)
		return nil
	})
	pass := func(name string) func(string) error {
		return func(value string) error {
			t.flags = append(t.flags, "-test."+name+"="+value)
			return nil
		}
	}
	for name, help := range valueFlags {
		flags.Func(name, help, pass(name))
	}
	for name, help := range boolFlags {
		flags.BoolFunc(name, help, pass(name))
	}
}

func (l *lab) test(ctx context.Context, args []string) (code int, err error) {
	t := &testRun{session: session{lab: l}}
	flags := l.flags("test")
	t.register(flags)
	if err := parse(flags, args); err != nil {
		return 0, err
	}
	if flags.NArg() == 0 {
		return 0, usageError{errors.New("a package is missing")}
	}
	return t.packages(ctx, flags.Args())
}

// packages builds the tests of packages and runs them one after the other in one boot.
// The exit code is 1 if one of them failed.
func (t *testRun) packages(ctx context.Context, patterns []string) (code int, err error) {
	l := t.lab
	t.flags = append(t.flags, "-test.timeout="+t.limit.String(), "-test.paniconexit0")
	find := l.machineParts
	if t.direct {
		find = l.findParts
	}
	p, err := find(ctx, false)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(p.store.Dir(), ".new-tests-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := t.compile(ctx, p.root, dir, patterns)
	switch {
	case err != nil:
		return 0, err
	case t.direct:
		return t.runAll(programs, func(tp testProgram) (int, error) { return t.runHere(ctx, p, tp) })
	}
	// A package whose own time-out does not work is ended with the machine.
	t.timeout = time.Duration(len(programs)) * (t.limit + time.Minute)
	t.shares = append(t.shares, box.Share{Host: p.root, Guest: sourcePath})
	if t.machines > 1 {
		return t.inMachines(ctx, p, programs)
	}
	return t.in(ctx, p, func(m *box.Machine) (int, error) {
		return t.runAll(programs, func(tp testProgram) (int, error) {
			return t.runIn(m, p, tp, tp.flags(), box.Streams{Stdout: l.stdout, Stderr: l.stderr})
		})
	})
}

// runIn runs a program in a machine, with some more flags.
func (t *testRun) runIn(m *box.Machine, p *parts, tp testProgram, more []string, s box.Streams) (int, error) {
	below, err := filepath.Rel(p.root, tp.dir)
	if err != nil {
		return 0, err
	}
	return m.Run(link.Command{
		Args: slices.Concat([]string{p.inside(tp.path)}, t.flags, more), Dir: filepath.Join(sourcePath, below),
		Env: slices.Concat(t.env, p.environment(p.inside)),
	}, s)
}

// runAll runs programs, and says about each what go test would.
func (t *testRun) runAll(programs []testProgram, run func(testProgram) (int, error)) (int, error) {
	worst := 0
	for _, p := range programs {
		began := time.Now()
		code, err := run(p)
		if err != nil {
			return 0, err
		}
		t.lab.verdict(p.name, code, time.Since(began))
		worst = max(worst, min(code, 1))
	}
	return worst, nil
}

// verdict says about a package what go test would.
func (l *lab) verdict(name string, code int, took time.Duration) {
	word := "ok  "
	if code != 0 {
		word = "FAIL"
	}
	l.say("%s\t%s\t%.3fs\n", word, name, took.Seconds())
}

// runHere runs a program on this host.
func (t *testRun) runHere(ctx context.Context, p *parts, tp testProgram) (int, error) {
	here := func(path string) string { return path }
	env := slices.Concat(t.env, p.environment(here))
	for _, other := range os.Environ() {
		if name, _, _ := strings.Cut(other, "="); !strings.HasPrefix(name, "SMARTVM_") {
			env = append(env, other)
		}
	}
	return t.lab.exec(ctx, tp.path, slices.Concat(t.flags, tp.flags()), env, tp.dir)
}
