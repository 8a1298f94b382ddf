package main

import "slices"

// partDelete are the results of a task of the TAPs.
const partDelete = "delete"

// add adds the results of a task. They are compared with the first way.
func (s *site) add(part, task string, ways []networkWay, took [][]float64) {
	for i, w := range ways {
		result := NetworkResult{
			Part: part, Task: task, Way: w.name, What: w.what, Judged: w.judged,
			Took: summarise(took[i]), Mean: interval(took[i]),
		}
		if i > 0 {
			result.First = ratio(took[i], took[0])
		}
		s.Results = append(s.Results, result)
	}
}

// addStream adds rates, which are inverse to times.
func (s *site) addStream(task string, ways []networkWay, took [][]float64, bytes int64) {
	at := len(s.Results)
	s.add(partStream, task, ways, took)
	for i := range ways {
		r := &s.Results[at+i]
		r.MiBPerSecond = float64(bytes) / mib * 1000 / r.Mean.Value
		if i > 0 {
			r.Rate = ratio(took[0], took[i])
		}
	}
}

// addStarts adds the starts. What they are compared with is a sum: a start without a
// network, and a TAP.
func (s *site) addStarts(arms []arm, took [][]float64) {
	const without, tap = 0, 1
	sum := slices.Clone(took[without])
	for i := range sum {
		sum[i] += took[tap][i]
	}
	ways := []networkWay{{name: "sum", what: arms[without].name + " and " + arms[tap].name + ", added up for each round"}}
	for i, a := range arms {
		ways = append(ways, networkWay{name: a.name, what: a.what, judged: i == len(arms)-1})
	}
	s.add(partStarts, startTask, ways, slices.Insert(took, 0, sum))
}

// interval is the mean of samples with its bootstrap interval.
func interval(samples []float64) Ratio {
	return ratio(samples, slices.Repeat([]float64{1}, len(samples)))
}
