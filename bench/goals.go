package main

import "math"

// Goal is a figure that smartvm has to reach.
type Goal struct {
	Name    string  `json:"name"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least"` // the limit is a lower one
	Value   float64 `json:"value"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Verdict string  `json:"verdict"`
}

// Verdicts. A value whose interval lies on both sides of the limit proves nothing.
const (
	met        = "met"
	missed     = "missed"
	unresolved = "unresolved"
)

func ratioGoal(name string, limit float64, atLeast bool, r Ratio) Goal {
	g := Goal{Name: name, Limit: limit, AtLeast: atLeast, Value: r.Value, Low: r.Low, High: r.High}
	below, above := r.High <= limit, r.Low >= limit
	if atLeast {
		below, above = above, below
	}
	switch {
	case below:
		g.Verdict = met
	case above:
		g.Verdict = missed
	default:
		g.Verdict = unresolved
	}
	return g
}

// The limits.
const (
	startLimit   = 1.10
	rateLimit    = 0.90
	cpuLimit     = 0.6 // ms
	jailLimit    = 1.10
	tailLimit    = 2.0
	restoreLimit = 1.15
	cloneLimit   = 0.85
	createLimit  = 1.05
	memoryLimit  = 1024 // KiB
	stageLimit   = 1.10
	holesLimit   = 1.01 // a file system needs some blocks for itself
	fetchLimit   = 1.15
	hashLimit    = 1.10
	againLimit   = 1.0 // ms

	tapLimit    = 1.0   // ms
	deleteLimit = 500.0 // ms
	rulesLimit  = 5.0   // ms
	netLimit    = 1.15
	streamLimit = 0.95
)

func (r *report) goals() []Goal {
	goals := []Goal{}
	for _, one := range r.One {
		if one.Arm == armSmartvm {
			goals = append(goals, ratioGoal("start of one VM / floor", startLimit, false, one.Floor))
		}
	}
	for _, f := range r.Fleet {
		if f.Arm == armSmartvm {
			goals = append(goals,
				ratioGoal("rate of a fleet / raw", rateLimit, true, f.Rate),
				ratioGoal("controller CPU, ms per VM of a fleet", cpuLimit, false, Ratio{f.CPU, f.CPU, f.CPU}))
		}
	}
	goals = append(goals, r.jailGoals()...)
	goals = append(goals, r.restoreGoals()...)
	for _, s := range r.Staging {
		if s.Way == methodSelf {
			allocated := float64(s.Allocated) / (dataMiB * mib)
			goals = append(goals,
				ratioGoal("staging "+s.Pair+" / best way", stageLimit, false, s.Best),
				ratioGoal("staging "+s.Pair+", allocated / data", holesLimit, false, Ratio{allocated, allocated, allocated}))
		}
	}
	for _, m := range r.Images {
		if m.Way != methodSelf {
			continue
		}
		switch m.Task {
		case downloading:
			goals = append(goals, ratioGoal(m.Task+" / curl, then sha256sum", fetchLimit, false, m.First))
		case ensuring:
			goals = append(goals, ratioGoal(m.Task+" / hash both files", hashLimit, false, m.First))
		case again:
			goals = append(goals, ratioGoal(m.Task+", ms", againLimit, false, Ratio{m.Took.Mean, m.Took.Mean, m.Took.Mean}))
		}
	}
	goals = append(goals, r.networkGoals()...)
	for i := range goals {
		goals[i].Value = round(goals[i].Value)
		goals[i].Low, goals[i].High = round(goals[i].Low), round(goals[i].High)
	}
	return goals
}

func (r *report) networkGoals() (goals []Goal) {
	for i := range r.Network {
		m := &r.Network[i]
		if !m.Judged {
			continue
		}
		switch m.Part {
		case partTAPs:
			goals = append(goals, ratioGoal(m.Task+", ms", tapLimit, false, m.Mean))
		case partDelete:
			goals = append(goals, ratioGoal(m.Task+", ms", deleteLimit, false, m.Mean))
		case partRules:
			goals = append(goals, ratioGoal(m.Task+" ("+m.Way+"), ms", rulesLimit, false, m.Mean))
		case partStream:
			goals = append(goals, ratioGoal(m.Task+", rate / without a policy", streamLimit, true, m.Rate))
		case partRestores:
			goals = append(goals, ratioGoal("restore of a VM with a network / raw load and TAP", restoreLimit, false, m.First))
		case partStarts:
			goals = append(goals, ratioGoal("start of a VM with a network / without, and a TAP", netLimit, false, m.First))
		}
	}
	return goals
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }
