package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// testProgram is the compiled test of a package.
type testProgram struct {
	name string // of the package
	dir  string // its source, which tests run in
	path string // of the program
	run  string // a regular expression of the tests that were asked for; "" for that of -run
}

// flags are those that only this program gets.
func (p testProgram) flags() []string {
	if p.run == "" {
		return nil
	}
	return []string{"-test.run=" + p.run}
}

// compile builds the tests of packages into dir. They run where no library is, so cgo
// is off, and the race detector with it.
func (t *testRun) compile(ctx context.Context, root, dir string, patterns []string) (programs []testProgram, err error) {
	for _, pattern := range patterns {
		pattern, run, _ := strings.Cut(pattern, "=")
		if programs, err = t.compileMatching(ctx, root, dir, pattern, run, programs); err != nil {
			return nil, err
		}
	}
	if len(programs) == 0 {
		return nil, usageError{fmt.Errorf("there are no tests in %s", strings.Join(patterns, " "))}
	}
	return programs, nil
}

// compileMatching appends the tests of the packages that match a pattern to programs.
func (t *testRun) compileMatching(ctx context.Context, root, dir, pattern, run string, programs []testProgram) ([]testProgram, error) {
	args := append([]string{"list", "-f", "{{.ImportPath}}\t{{.Dir}}\t{{len .TestGoFiles}}{{len .XTestGoFiles}}"}, t.build...)
	out, err := goOutput(ctx, root, append(args, pattern)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("go list prints %q", line)
		}
		if fields[2] == "00" {
			t.lab.say("?   \t%s\t[no test files]\n", fields[0])
			continue
		}
		p := testProgram{fields[0], fields[1], filepath.Join(dir, fmt.Sprintf("%d-%s.test", len(programs), filepath.Base(fields[0]))), run}
		goTool, err := proc.Find("go", "golang")
		if err != nil {
			return nil, err
		}
		build := append([]string{"test", "-c", "-o", p.path}, t.build...)
		code, err := t.lab.exec(ctx, goTool, append(build, p.name), goEnvironment(), root)
		if err == nil && code != 0 {
			err = fmt.Errorf("the tests of %s can't be built", p.name)
		}
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
	}
	return programs, nil
}

// exec runs a program with our streams, until ctx ends.
func (l *lab) exec(ctx context.Context, path string, args, env []string, dir string) (int, error) {
	p, err := proc.Start(proc.Spec{
		Path: path, Args: args, Env: env, Dir: dir, Stdin: l.stdin, Stdout: l.stdout, Stderr: l.stderr, Tied: true,
	})
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Signal(unix.SIGTERM) })
	defer stop()
	switch status := p.Status(); {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case status.Signal != 0:
		return 128 + status.Signal, nil
	default:
		return status.Code, nil
	}
}

func goEnvironment() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
}

// goOutput runs the Go command in dir and returns what it prints.
func goOutput(ctx context.Context, dir string, args ...string) ([]byte, error) {
	path, err := proc.Find("go", "golang")
	if err != nil {
		return nil, err
	}
	out, err := proc.Command{Path: path, Args: args, Env: goEnvironment(), Dir: dir}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, nil
}
