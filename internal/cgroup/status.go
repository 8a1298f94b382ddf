package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Status is what the kernel says about a group. What is without a limit, and what its
// controller is not enabled for, is zero.
type Status struct {
	// Limits are those in force. A weight is there always: 100 where none was set.
	Limits Limits
	// Populated reports whether a process is in the group.
	Populated bool
	// Memory is what is in use, in bytes.
	Memory uint64
	// PIDs is how many tasks there are.
	PIDs uint64
	// OOMKills counts the processes that were killed for want of memory.
	OOMKills uint64
	// Refused counts the forks that failed at the limit of PIDs.
	Refused uint64
	// CPU is the time that was used, Throttled that for which its tasks had to wait at
	// the limit, summed up over the cores, in ThrottledPeriods of Periods of 100 ms.
	CPU, Throttled            time.Duration
	Periods, ThrottledPeriods uint64
}

// Status reads what is in force and what has happened. The error matches
// fs.ErrNotExist when there is no such group (any more).
func (g *Group) Status() (*Status, error) {
	root, err := openTree(g.Mount)
	if err != nil {
		return nil, failure("open cgroups", g.Mount, err)
	}
	defer root.Close()
	r := reader{root: root, path: g.Path}
	events := r.flat("cgroup.events") // in every group
	if r.err == nil && len(events) == 0 {
		r.err = &fs.PathError{Op: "read cgroup", Path: g.Path, Err: fs.ErrNotExist}
	}
	cpu, memory, pids := r.flat("cpu.stat"), r.flat("memory.events"), r.flat("pids.events")
	s := &Status{
		Limits: Limits{
			CPU: r.cores(), CPUWeight: r.number("cpu.weight"), Memory: r.number("memory.max"), MemoryHigh: r.number("memory.high"),
			PIDs: r.number("pids.max"), IO: r.disks(),
		},
		Populated: events["populated"] != 0,
		Memory:    r.number("memory.current"), PIDs: r.number("pids.current"),
		OOMKills: memory["oom_kill"], Refused: pids["max"],
		CPU:       microseconds(cpu["usage_usec"]),
		Throttled: microseconds(cpu["throttled_usec"]),
		Periods:   cpu["nr_periods"], ThrottledPeriods: cpu["nr_throttled"],
	}
	if r.err != nil {
		return nil, failure("read cgroup", g.Path, r.err)
	}
	return s, nil
}

func microseconds(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

// reader reads the files of a group, until one fails. A file that is not there, since
// its controller is not enabled, is empty.
type reader struct {
	root *os.Root
	path string
	err  error
}

func (r *reader) text(file string) string {
	if r.err != nil {
		return ""
	}
	text, err := r.root.ReadFile(r.path + "/" + file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.err = err
	}
	return strings.TrimSpace(string(text))
}

func (r *reader) number(file string) uint64 {
	text := r.text(file)
	if text == "" {
		return 0
	}
	n, err := parseNumber(text)
	r.keep(file, err)
	return n
}

func (r *reader) flat(file string) map[string]uint64 {
	values, err := parseFlat(r.text(file))
	r.keep(file, err)
	return values
}

func (r *reader) cores() float64 {
	n, err := parseCores(r.text("cpu.max"))
	r.keep("cpu.max", err)
	return n
}

func (r *reader) disks() []DiskLimit {
	var limits []DiskLimit
	for line := range strings.Lines(r.text("io.max")) {
		d, err := parseDiskLimit(line)
		r.keep("io.max", err)
		limits = append(limits, d)
	}
	return limits
}

func (r *reader) keep(file string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", file, err)
	}
}

// parseNumber reads a limit: "max" is none.
func parseNumber(text string) (uint64, error) {
	if text == "max" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// parseFlat reads lines of "key 123".
func parseFlat(text string) (map[string]uint64, error) {
	values := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, err
		}
		values[key] = n
	}
	return values, nil
}

// parseCores reads cpu.max: "150000 100000" is 1.5 cores.
func parseCores(text string) (float64, error) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] == "max" {
		return 0, nil
	}
	if len(words) != 2 {
		return 0, fmt.Errorf("%q has no period", text)
	}
	quota, errQ := strconv.ParseUint(words[0], 10, 64)
	each, errP := strconv.ParseUint(words[1], 10, 64)
	if err := errors.Join(errQ, errP); err != nil {
		return 0, err
	}
	if each == 0 {
		return 0, errors.New("its period is 0")
	}
	return float64(quota) / float64(each), nil
}
