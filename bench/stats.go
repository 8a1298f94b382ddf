package main

import (
	"math/rand/v2"
	"slices"
)

// slowest is the part of the samples that the mean leaves out: what happened
// meanwhile on the host, rather than what was measured.
const slowest = 0.05

// trimmedMean is the mean without the slowest samples.
func trimmedMean(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	sorted = sorted[:len(sorted)-int(float64(len(sorted))*slowest)]
	var sum float64
	for _, s := range sorted {
		sum += s
	}
	return sum / float64(len(sorted))
}

// quantile is the nearest sample.
func quantile(samples []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// Ratio compares two trimmed means, with its bootstrap 95 % interval.
type Ratio struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

const resamples = 4000

// ratio divides a by b. Their samples of equal index come from one round and
// are resampled together: what disturbs a round disturbs both.
func ratio(a, b []float64) Ratio {
	return compare(a, b, func(a, b float64) float64 { return a / b })
}

// difference is by how much a is more than b, otherwise it is as ratio.
func difference(a, b []float64) Ratio {
	return compare(a, b, func(a, b float64) float64 { return a - b })
}

func compare(a, b []float64, by func(a, b float64) float64) Ratio {
	random := newRandom(uint64(len(a)))
	values := make([]float64, resamples)
	for i := range values {
		values[i] = by(resampled(a, b, random))
	}
	return Ratio{by(trimmedMean(a), trimmedMean(b)), quantile(values, 0.025), quantile(values, 0.975)}
}

// resampled returns two trimmed means.
func resampled(a, b []float64, random *rand.Rand) (meanA, meanB float64) {
	n := min(len(a), len(b))
	as, bs := make([]float64, n), make([]float64, n)
	for i := range n {
		at := random.IntN(n)
		as[i], bs[i] = a[at], b[at]
	}
	return trimmedMean(as), trimmedMean(bs)
}

// Summary describes samples.
type Summary struct {
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	P25    float64 `json:"p25"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	Mean   float64 `json:"trimmed_mean"`
}

func summarise(samples []float64) Summary {
	return Summary{
		N: len(samples), Min: slices.Min(samples), P25: quantile(samples, 0.25),
		Median: quantile(samples, 0.5), P90: quantile(samples, 0.9), Mean: trimmedMean(samples),
	}
}
