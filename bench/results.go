package main

import (
	"context"
	"errors"
	"os/exec"
	"slices"
)

// column takes one number out of each sample.
func column[S any](samples []S, of func(S) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = of(s)
	}
	return out
}

func marker(s sample) float64    { return milliseconds(s.marker) }
func started(s sample) float64   { return milliseconds(s.started) }
func cpuTime(s sample) float64   { return milliseconds(s.cpu) }
func boot(s fleetSample) float64 { return milliseconds(s.boot) }

// perSecond is how many VMs a fleet of so many has started each second.
func perSecond(vms int, boots []float64) float64 { return float64(vms) * 1000 / trimmedMean(boots) }

// bootCPU is what the start of one VM of a fleet has cost this process.
func bootCPU(samples []fleetSample, vms int) float64 {
	return trimmedMean(column(samples, func(s fleetSample) float64 { return milliseconds(s.bootCPU) / float64(vms) }))
}

// one runs the arms that start one VM. The floor is always among them.
func (r *report) one(ctx context.Context, l *lab, opts *options) error {
	var arms []arm
	for _, a := range oneArms() {
		if opts.wants(oneFamily, a.name) {
			arms = append(arms, a)
		}
	}
	if len(arms) == 0 {
		return nil
	}
	if arms[0].name != armFloor {
		arms = slices.Insert(arms, 0, oneArms()[0])
	}
	samples, err := takeTurns(ctx, l, arms, opts.n, "one VM", opts.progress)
	if err != nil {
		return err
	}
	fair := slices.IndexFunc(arms, func(a arm) bool { return a.name == armFair })
	for i, a := range arms {
		markers := column(samples[i], marker)
		result := OneResult{
			Arm: a.name, What: a.what, Marker: summarise(markers),
			Started: trimmedMean(column(samples[i], started)),
			CPU:     trimmedMean(column(samples[i], cpuTime)),
			Floor:   ratio(markers, column(samples[0], marker)),
		}
		if fair >= 0 {
			result.Fair = ratio(markers, column(samples[fair], marker))
		}
		r.One = append(r.One, result)
	}
	return nil
}

func (r *report) fleets(ctx context.Context, l *lab, opts *options) error {
	if !opts.wants(fleetFamily) {
		return nil
	}
	arms := fleetArms()
	samples, err := fleetTurns(ctx, l, arms, turns{what: fleetFamily, rounds: opts.rounds, vms: opts.fleet, concurrency: opts.concurrency}, opts.progress)
	if err != nil {
		return err
	}
	stop := func(s fleetSample) float64 { return milliseconds(s.stop) }
	for i, a := range arms {
		boots, stops := column(samples[i], boot), column(samples[i], stop)
		r.Fleet = append(r.Fleet, FleetResult{
			Arm: a.name, What: a.what, Rounds: len(boots), VMs: opts.fleet,
			PerSecond: perSecond(opts.fleet, boots),
			Rate:      ratio(column(samples[0], boot), boots), // rates are inverse to times
			CPU:       bootCPU(samples[i], opts.fleet),
			PeakMiB:   slices.Max(column(samples[i], func(s fleetSample) float64 { return s.peakMiB })),
			Stop:      summarise(stops), StopRatio: ratio(stops, column(samples[0], stop)),
			StopCPU: trimmedMean(column(samples[i], func(s fleetSample) float64 { return milliseconds(s.stopCPU) / float64(opts.fleet) })),
		})
	}
	return nil
}

func (r *report) staging(ctx context.Context, l *lab, opts *options) error {
	if !opts.wants(stageFamily) {
		return nil
	}
	pairs, notes, err := l.pairs(ctx)
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, notes...)
	for _, p := range pairs {
		say(opts.progress, "staging: %s", p.name)
		copies, err := l.compare(ctx, p, opts.copies)
		if err != nil {
			return err
		}
		r.addStaging(p, copies)
	}
	return nil
}

func (r *report) addStaging(p pair, copies map[string][]stagedCopy) {
	took := func(c stagedCopy) float64 { return milliseconds(c.took) }
	var best []float64
	for name, done := range copies {
		times := column(done, took)
		if name != methodSelf && (best == nil || trimmedMean(times) < trimmedMean(best)) {
			best = times
		}
	}
	for _, way := range stagingWays() {
		done := copies[way.name]
		if len(done) == 0 {
			continue
		}
		last := done[len(done)-1]
		result := StageResult{Pair: p.name, Way: way.name, Method: last.method, Took: summarise(column(done, took)), Allocated: last.allocated}
		if way.name == methodSelf {
			result.Best = ratio(column(done, took), best)
		}
		r.Staging = append(r.Staging, result)
	}
}

// images compares what is done with files of images. The first way of a task is
// what the others are compared with.
func (r *report) images(ctx context.Context, l *lab, opts *options) error {
	if !opts.wants(imagesFamily) {
		return nil
	}
	say(opts.progress, "images")
	ways := imageWays()
	took, err := imageTurns(ctx, l, ways, opts.copies)
	if errors.Is(err, exec.ErrNotFound) {
		r.Notes = append(r.Notes, "no images: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	first := map[string]int{}
	for i, w := range ways {
		result := ImageResult{Task: w.task, Way: w.name, Took: summarise(took[i])}
		if at, compared := first[w.task]; compared {
			result.First = ratio(took[i], took[at])
		} else {
			first[w.task] = i
		}
		r.Images = append(r.Images, result)
	}
	return nil
}
