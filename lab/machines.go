package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/lab/internal/box"
)

// job is one test of a program.
type job struct {
	program int
	name    string
}

// spread is a run of tests on several machines, which emulate one processor each.
type spread struct {
	test     *testRun
	programs []testProgram
	jobs     chan job

	mu    sync.Mutex // of what follows, and of the output
	spent []time.Duration
	code  []int
	errs  []error
}

// inMachines runs each test by itself, on whichever machine is free.
func (t *testRun) inMachines(ctx context.Context, p *parts, programs []testProgram) (int, error) {
	s := &spread{test: t, programs: programs, spent: make([]time.Duration, len(programs)), code: make([]int, len(programs))}
	if err := s.list(ctx); err != nil {
		return 0, err
	}
	var machines sync.WaitGroup
	for range min(t.machines, len(s.jobs)) {
		machines.Go(func() {
			// A machine ends with the thread that has started it.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			_, err := t.in(ctx, p, func(m *box.Machine) (int, error) { return 0, s.work(m, p) })
			if err != nil {
				s.fail(err)
			}
		})
	}
	machines.Wait()
	worst := 0
	for i, program := range programs {
		t.lab.verdict(program.name, s.code[i], s.spent[i])
		worst = max(worst, s.code[i])
	}
	return worst, errors.Join(s.errs...)
}

// list asks the programs, which run on this host as well, for their tests.
func (s *spread) list(ctx context.Context) error {
	pattern := "."
	for _, f := range s.test.flags {
		if run, given := strings.CutPrefix(f, "-test.run="); given {
			pattern, _, _ = strings.Cut(run, "/")
		}
	}
	var jobs []job
	for i, p := range s.programs {
		out, err := proc.Output(ctx, p.path, "-test.list="+cmp.Or(p.run, pattern))
		if err != nil {
			return fmt.Errorf("list the tests of %s: %w", p.name, err)
		}
		for line := range strings.Lines(string(out)) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "Test") {
				jobs = append(jobs, job{i, name})
			}
		}
	}
	s.jobs = make(chan job, len(jobs))
	for _, j := range jobs {
		s.jobs <- j
	}
	close(s.jobs)
	return nil
}

// work does jobs on a machine until there are no more.
func (s *spread) work(m *box.Machine, p *parts) error {
	for j := range s.jobs {
		var out bytes.Buffer
		began := time.Now()
		only := []string{"-test.run=^" + regexp.QuoteMeta(j.name) + "$"}
		code, err := s.test.runIn(m, p, s.programs[j.program], only, box.Streams{Stdout: &out, Stderr: &out})
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		s.done(j, code, time.Since(began), out.Bytes())
	}
	return nil
}

func (s *spread) done(j job, code int, took time.Duration, out []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent[j.program] += took
	if code != 0 {
		s.code[j.program] = 1
	}
	_, err := s.test.lab.stdout.Write(bytes.TrimSuffix(out, []byte("PASS\n")))
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

func (s *spread) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}
