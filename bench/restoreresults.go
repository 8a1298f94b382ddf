package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
)

// RestoreResult is an arm that lets one guest of a snapshot go on.
type RestoreResult struct {
	Arm     string  `json:"arm"`
	What    string  `json:"what"`
	Heard   Summary `json:"heard_ms"`   // until the guest's first byte
	Started float64 `json:"started_ms"` // trimmed mean until it went on
	CPU     float64 `json:"controller_cpu_ms"`
	Raw     Ratio   `json:"ratio_to_raw_load"` // of the times until it went on
}

// CloneResult is an arm that makes many VMs of one snapshot.
type CloneResult struct {
	Arm       string  `json:"arm"`
	What      string  `json:"what"`
	Rounds    int     `json:"rounds"`
	VMs       int     `json:"vms"`
	PerSecond float64 `json:"vms_per_second"`
	Rate      Ratio   `json:"rate_ratio_to_raw"`
	Jailed    Ratio   `json:"rate_ratio_to_raw_jailed,omitzero"`
	Unjailed  Ratio   `json:"rate_ratio_to_unjailed,omitzero"` // of smartvm
	CPU       float64 `json:"controller_cpu_ms_per_vm"`
}

// CreateResult is an arm that takes a snapshot of a VM that runs.
type CreateResult struct {
	Arm  string  `json:"arm"`
	What string  `json:"what"`
	Took Summary `json:"took_ms"`
	Raw  Ratio   `json:"ratio_to_raw"`
}

// PrivateResult is the memory of clones that they share with nobody, before they run.
type PrivateResult struct {
	Arm           string  `json:"arm"`
	What          string  `json:"what"`
	VMs           int     `json:"vms"`
	KiB           float64 `json:"private_kib_per_vm"`
	ControllerKiB float64 `json:"controller_kib_per_vm"`
}

// restores runs the arms with snapshots.
func (r *report) restores(ctx context.Context, l *lab, opts *options) error {
	var parts []func() error
	for _, part := range []struct {
		wanted bool
		run    func() error
	}{
		{opts.wants(restoreFamily, armRawLoad, armRestore), func() error { return r.restoreOne(ctx, l, opts) }},
		{opts.wants(restoreFamily, clonesPart), func() error { return r.cloneMany(ctx, l, opts) }},
		{opts.wants(restoreFamily, createPart), func() error { return r.creates(ctx, l, opts) }},
		{opts.wants(restoreFamily, memoryPart), func() error { return r.privates(ctx, l) }},
	} {
		if part.wanted {
			parts = append(parts, part.run)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		r.Notes = append(r.Notes, "no snapshots: their arms with jails need root")
		return nil
	}
	if l.jailing == nil {
		if err := l.openJailing(ctx); err != nil {
			return err
		}
	}
	if err := l.openSnapshots(ctx); err != nil {
		return err
	}
	for _, run := range parts {
		if err := run(); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) restoreOne(ctx context.Context, l *lab, opts *options) error {
	arms := restoreArms()
	samples, err := takeTurns(ctx, l, arms, opts.n, "one restored VM", opts.progress)
	if err != nil {
		return err
	}
	for i, a := range arms {
		r.Restore = append(r.Restore, RestoreResult{
			Arm: a.name, What: a.what, Heard: summarise(column(samples[i], marker)), Started: trimmedMean(column(samples[i], started)),
			CPU: trimmedMean(column(samples[i], cpuTime)),
			Raw: ratio(column(samples[i], started), column(samples[0], started)),
		})
	}
	return nil
}

func (r *report) cloneMany(ctx context.Context, l *lab, opts *options) error {
	arms := cloneArms()
	samples, err := fleetTurns(ctx, l, arms, turns{what: "clones", rounds: opts.rounds, vms: opts.crowd, concurrency: opts.concurrency}, opts.progress)
	if err != nil {
		return err
	}
	const rawLoads, rawJailed, plain, jailed = 0, 1, 2, 3
	rate := func(of, to int) Ratio { return ratio(column(samples[to], boot), column(samples[of], boot)) } // inverse to times
	for i, a := range arms {
		result := CloneResult{
			Arm: a.name, What: a.what, Rounds: len(samples[i]), VMs: opts.crowd,
			PerSecond: perSecond(opts.crowd, column(samples[i], boot)), Rate: rate(i, rawLoads),
			CPU: bootCPU(samples[i], opts.crowd),
		}
		if i == jailed {
			result.Jailed, result.Unjailed = rate(i, rawJailed), rate(i, plain)
		}
		r.Clones = append(r.Clones, result)
	}
	return nil
}

func (r *report) restoreGoals() (goals []Goal) {
	for _, x := range r.Restore {
		if x.Arm == armRestore {
			goals = append(goals, ratioGoal("restore of one VM / raw load", restoreLimit, false, x.Raw))
		}
	}
	for _, c := range r.Clones {
		switch c.Arm {
		case armRestore:
			goals = append(goals, ratioGoal(fmt.Sprintf("rate of %d clones / raw", c.VMs), cloneLimit, true, c.Rate))
		case armJailedLoad:
			goals = append(goals, ratioGoal("the same in jails / without", cloneLimit, true, c.Unjailed))
		}
	}
	for _, c := range r.Create {
		if c.Arm == armTake {
			goals = append(goals, ratioGoal(createdSubject+" / raw call and copy of its disk", createLimit, false, c.Raw))
		}
	}
	for _, p := range r.Private {
		if p.Arm == armRestore {
			goals = append(goals, ratioGoal("private memory of a clone before it runs, KiB", memoryLimit, false, Ratio{p.KiB, p.KiB, p.KiB}))
		}
	}
	return goals
}

func (r *report) printRestores(w *bytes.Buffer) {
	if len(r.Create) > 0 {
		fmt.Fprintln(w, "\nSNAPSHOT OF A RUNNING VM, ms\tn\tmin\tmedian\tp90\tmean\t/ raw")
	}
	for _, c := range r.Create {
		t := c.Took
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%s\n", c.Arm, t.N, t.Min, t.Median, t.P90, t.Mean, c.Raw)
	}
	for _, c := range r.Create {
		fmt.Fprintf(w, "  %s: %s\n", c.Arm, c.What)
	}
	if len(r.Private) > 0 {
		fmt.Fprintln(w, "\nPRIVATE MEMORY BEFORE A CLONE RUNS\tVMs\tKiB/VM\tof the controller, KiB/VM")
	}
	for _, p := range r.Private {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\n", p.Arm, p.VMs, p.KiB, p.ControllerKiB)
	}
	for _, p := range r.Private {
		fmt.Fprintf(w, "  %s: %s\n", p.Arm, p.What)
	}
	if len(r.Restore) > 0 {
		fmt.Fprintf(w, "\nONE RESTORED VM, ms\tn\tmin\tmedian\tp90\tmean until heard\tuntil it went on\t/ %s\tCPU\n", armRawLoad)
	}
	for _, x := range r.Restore {
		m := x.Heard
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%.2f\n", x.Arm, m.N, m.Min, m.Median, m.P90, m.Mean, x.Started, x.Raw, x.CPU)
	}
	for _, x := range r.Restore {
		fmt.Fprintf(w, "  %s: %s\n", x.Arm, x.What)
	}
	if len(r.Clones) > 0 {
		fmt.Fprintf(w, "\n%d CLONES\trounds\tVM/s\t/ raw\t/ %s\t/ %s\tCPU ms/VM\n", r.Clones[0].VMs, armRawJailedLoad, armRestore)
	}
	for _, c := range r.Clones {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%s\t%s\t%s\t%.2f\n", c.Arm, c.Rounds, c.PerSecond, c.Rate, c.Jailed, c.Unjailed, c.CPU)
	}
	for _, c := range r.Clones {
		fmt.Fprintf(w, "  %s: %s\n", c.Arm, c.What)
	}
}
