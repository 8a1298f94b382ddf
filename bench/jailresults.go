package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/errcode"
)

// JailResult is an arm that starts one VM in a jail, or the floor without one.
type JailResult struct {
	Arm      string  `json:"arm"`
	What     string  `json:"what"`
	Marker   Summary `json:"marker_ms"`
	Started  float64 `json:"started_ms,omitzero"` // trimmed mean until Start returned
	CPU      float64 `json:"controller_cpu_ms"`
	Raw      Ratio   `json:"ratio_to_raw_jailed"`
	Overhead Ratio   `json:"ms_above_floor"` // of the trimmed means
}

// CrowdResult is an arm that starts many jailed VMs at once.
type CrowdResult struct {
	Arm       string  `json:"arm"`
	What      string  `json:"what"`
	Rounds    int     `json:"rounds"`
	VMs       int     `json:"vms"`
	PerSecond float64 `json:"vms_per_second"`
	Rate      Ratio   `json:"rate_ratio_to_raw"`
	Median    Ratio   `json:"median_ms"` // of a round's VMs, until a guest spoke
	P99       Ratio   `json:"p99_ms"`
	Tail      Ratio   `json:"p99_to_median"`
	CPU       float64 `json:"controller_cpu_ms_per_vm"`
}

// jail runs the arms with a jail. The floor and the raw jail are always among them.
func (r *report) jail(ctx context.Context, l *lab, opts *options) error {
	single, crowd := opts.wants(jailFamily, armRawJailed, armSmartJailed, armPrivate), opts.wants(jailFamily, crowdPart)
	if !single && !crowd {
		return nil
	}
	if os.Geteuid() != 0 {
		r.Notes = append(r.Notes, "no jails: they need root")
		return nil
	}
	err := l.openJailing(ctx)
	if errors.Is(err, errcode.BinaryNotFound) {
		r.Notes = append(r.Notes, "no jails: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if single {
		if err := r.jailOne(ctx, l, opts); err != nil {
			return err
		}
	}
	if crowd {
		return r.jailCrowd(ctx, l, opts)
	}
	return nil
}

func (r *report) jailOne(ctx context.Context, l *lab, opts *options) error {
	arms := jailArms()
	samples, err := takeTurns(ctx, l, arms, opts.n, "one jailed VM", opts.progress)
	if err != nil {
		return err
	}
	floor, raw := column(samples[0], marker), column(samples[1], marker)
	for i, a := range arms {
		markers := column(samples[i], marker)
		r.Jail = append(r.Jail, JailResult{
			Arm: a.name, What: a.what, Marker: summarise(markers),
			Started: trimmedMean(column(samples[i], started)),
			CPU:     trimmedMean(column(samples[i], cpuTime)),
			Raw:     ratio(markers, raw), Overhead: difference(markers, floor),
		})
	}
	return nil
}

func (r *report) jailCrowd(ctx context.Context, l *lab, opts *options) error {
	arms := crowdArms()
	samples, err := fleetTurns(ctx, l, arms, turns{what: "jailed VMs at once", rounds: opts.rounds, vms: opts.crowd, concurrency: opts.crowd}, opts.progress)
	if err != nil {
		return err
	}
	spoke := func(q float64) func(fleetSample) float64 {
		return func(s fleetSample) float64 {
			return quantile(column(s.spoke, milliseconds), q)
		}
	}
	for i, a := range arms {
		boots, medians, tails := column(samples[i], boot), column(samples[i], spoke(0.5)), column(samples[i], spoke(0.99))
		r.Crowd = append(r.Crowd, CrowdResult{
			Arm: a.name, What: a.what, Rounds: len(boots), VMs: opts.crowd,
			PerSecond: perSecond(opts.crowd, boots), Rate: ratio(column(samples[0], boot), boots),
			Median: interval(medians), P99: interval(tails), Tail: ratio(tails, medians),
			CPU: bootCPU(samples[i], opts.crowd),
		})
	}
	return nil
}

func (r *report) jailGoals() (goals []Goal) {
	for _, j := range r.Jail {
		if j.Arm == armSmartJailed {
			goals = append(goals, ratioGoal("start of one jailed VM / raw jailed", jailLimit, false, j.Raw))
		}
	}
	for _, c := range r.Crowd {
		if c.Arm == armSmartJailed {
			goals = append(goals, ratioGoal(fmt.Sprintf("p99 of %d jailed starts at once / their median", c.VMs), tailLimit, false, c.Tail))
		}
	}
	return goals
}

func (r *report) printJail(w *bytes.Buffer) {
	fmt.Fprintf(w, "\nONE JAILED VM, ms until its first byte\tn\tmin\tp25\tmedian\tp90\tmean\t/ %s\tms above %s\tstarted\tCPU\n", armRawJailed, armFloor)
	for _, j := range r.Jail {
		started := ""
		if j.Started > 0 {
			started = fmt.Sprintf("%.2f", j.Started)
		}
		m := j.Marker
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%.2f\n",
			j.Arm, m.N, m.Min, m.P25, m.Median, m.P90, m.Mean, j.Raw, j.Overhead, started, j.CPU)
	}
	for _, j := range r.Jail {
		fmt.Fprintf(w, "  %s: %s\n", j.Arm, j.What)
	}
}

func (r *report) printCrowd(w *bytes.Buffer) {
	fmt.Fprintf(w, "\n%d JAILED VMS AT ONCE\trounds\tVM/s\t/ raw\tmedian ms\tp99 ms\tp99 / median\tCPU ms/VM\n", r.Crowd[0].VMs)
	for _, c := range r.Crowd {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%s\t%.1f\t%.1f\t%s\t%.2f\n", c.Arm, c.Rounds, c.PerSecond, c.Rate, c.Median.Value, c.P99.Value, c.Tail, c.CPU)
	}
	for _, c := range r.Crowd {
		fmt.Fprintf(w, "  %s: %s\n", c.Arm, c.What)
	}
}
