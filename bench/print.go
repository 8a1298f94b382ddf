package main

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the tables for people.
func (r *report) print(out io.Writer) error {
	w := &bytes.Buffer{}
	m := r.Machine
	fmt.Fprintf(w, "kernel %s, %s, %d cores, %s, Firecracker %s, %s, load average %s before, %s after\n",
		m.Kernel, m.CPU, m.Cores, m.Go, m.Firecracker, m.Scheduling, m.LoadBefore, m.LoadAfter)
	fmt.Fprintln(w, "mean: without the slowest 5 %; in brackets: bootstrap 95 % interval")
	if len(r.One) > 0 {
		r.printOne(w)
	}
	if len(r.Fleet) > 0 {
		r.printFleet(w)
	}
	if len(r.Jail) > 0 {
		r.printJail(w)
	}
	if len(r.Crowd) > 0 {
		r.printCrowd(w)
	}
	r.printRestores(w)
	if len(r.Staging) > 0 {
		r.printStaging(w)
	}
	if len(r.Images) > 0 {
		r.printImages(w)
	}
	if len(r.Network) > 0 {
		r.printNetwork(w)
	}
	fmt.Fprintln(w, "\nMUST REACH\tlimit\tvalue\tverdict")
	for _, g := range r.Goals {
		sign := "<="
		if g.AtLeast {
			sign = ">="
		}
		fmt.Fprintf(w, "%s\t%s %.2f\t%s\t%s\n", g.Name, sign, g.Limit, Ratio{g.Value, g.Low, g.High}, g.Verdict)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(w, note)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := w.WriteTo(t); err != nil {
		return err
	}
	return t.Flush()
}

// String is the value with its interval, if it has one.
func (r Ratio) String() string {
	switch {
	case r == Ratio{}:
		return ""
	case r.Low == r.High:
		return fmt.Sprintf("%.2f", r.Value)
	default:
		return fmt.Sprintf("%.2f [%.2f-%.2f]", r.Value, r.Low, r.High)
	}
}

func (r *report) printOne(w *bytes.Buffer) {
	fmt.Fprintf(w, "\nONE VM, ms until its first byte\tn\tmin\tp25\tmedian\tp90\tmean\t/ floor\t/ %s\tstarted\tCPU\n", armFair)
	for _, o := range r.One {
		started := ""
		if o.Started > 0 {
			started = fmt.Sprintf("%.2f", o.Started)
		}
		m := o.Marker
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%.2f\n",
			o.Arm, m.N, m.Min, m.P25, m.Median, m.P90, m.Mean, o.Floor, o.Fair, started, o.CPU)
	}
	for _, o := range r.One {
		fmt.Fprintf(w, "  %s: %s\n", o.Arm, o.What)
	}
}

func (r *report) printFleet(w *bytes.Buffer) {
	fmt.Fprintf(w, "\nFLEET OF %d\trounds\tVM/s\t/ raw\tCPU ms/VM\tpeak MiB\tstop all ms\t/ raw\tCPU ms/VM\n", r.Fleet[0].VMs)
	for _, f := range r.Fleet {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%s\t%.2f\t%.1f\t%.0f\t%s\t%.2f\n",
			f.Arm, f.Rounds, f.PerSecond, f.Rate, f.CPU, f.PeakMiB, f.Stop.Mean, f.StopRatio, f.StopCPU)
	}
	for _, f := range r.Fleet {
		fmt.Fprintf(w, "  %s: %s\n", f.Arm, f.What)
	}
}

func (r *report) printStaging(w *bytes.Buffer) {
	fmt.Fprintf(w, "\nSTAGING %d MiB, %d MiB of it data\tway\tn\tmin ms\tmedian\tmean\tsmartvm / best\tallocated MiB\n", imageMiB, dataMiB)
	for _, s := range r.Staging {
		way := s.Way
		if s.Method != "" {
			way += " (" + s.Method + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%s\t%d\n",
			s.Pair, way, s.Took.N, s.Took.Min, s.Took.Median, s.Took.Mean, s.Best, s.Allocated/mib)
	}
}

func (r *report) printImages(w *bytes.Buffer) {
	fmt.Fprintln(w, "\nIMAGES\tway\tn\tmin ms\tmedian\tmean\t/ first way")
	for _, m := range r.Images {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.3f\t%.3f\t%.3f\t%s\n", m.Task, m.Way, m.Took.N, m.Took.Min, m.Took.Median, m.Took.Mean, m.First)
	}
}

func (r *report) printNetwork(w *bytes.Buffer) {
	fmt.Fprintln(w, "\nNETWORK, ms\tway\tn\tmin\tmedian\tp90\tmean\t/ first way\tMiB/s")
	for i := range r.Network {
		m := &r.Network[i]
		rate := ""
		if m.MiBPerSecond > 0 {
			rate = fmt.Sprintf("%.0f", m.MiBPerSecond)
		}
		t := m.Took
		fmt.Fprintf(w, "%s\t%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%s\t%s\n", m.Task, m.Way, t.N, t.Min, t.Median, t.P90, t.Mean, m.First, rate)
	}
	said := map[[2]string]bool{}
	for i := range r.Network {
		m := &r.Network[i]
		if key := [2]string{m.Part, m.Way}; m.What != "" && !said[key] {
			said[key] = true
			fmt.Fprintf(w, "  %s, %s: %s\n", m.Part, m.Way, m.What)
		}
	}
}
