package vmconfig

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
)

// Validate checks all that can be known without a host. The error is
// INVALID_CONFIG, and its Details have every mistake, each with its field as a
// VM file spells it: "drives[0].rate_limiter.bandwidth.size".
//
// It refuses what Firecracker refuses, and a few things that Firecracker takes
// and no guest can use, such as a rate limiter of size 0. What needs a certain
// release is [Config.CheckVersion]'s; whether files exist is the caller's.
func (c *Config) Validate() error {
	var f faults
	f.bootSource(&c.BootSource, c.rootArgs())
	f.machine(c)
	if c.CPUConfig != nil {
		f.cpuConfig(c.CPUConfig)
	}
	f.drives(c.Drives)
	f.pmem(c.Pmem)
	f.oneRoot(c)
	f.interfaces(c.NetworkInterfaces)
	f.network(c)
	f.jail(c)
	f.vsock(c.Vsock)
	f.balloon(c)
	if c.Entropy != nil {
		f.rateLimiter("entropy.rate_limiter", c.Entropy.RateLimiter)
	}
	f.memoryHotplug(c.MemoryHotplug)
	f.limits(c)
	f.mmds(c)
	f.services(c)
	return f.err("validate vm config")
}

func (f *faults) services(c *Config) {
	if c.Metadata != nil {
		if _, err := json.Marshal(c.Metadata); err != nil {
			f.Add("metadata", "can't be written as JSON: %v", err)
		}
	}
	if l := c.Logger; l != nil {
		f.optionalPath("logger.log_path", l.LogPath)
		f.logLevel(l.Level)
		// It becomes an argument, which the kernel ends at a zero byte.
		f.text("logger.module", l.Module)
	}
	if m := c.Metrics; m != nil {
		f.path("metrics.metrics_path", m.MetricsPath)
	}
	if s := c.Serial; s != nil {
		f.optionalPath("serial.serial_out_path", s.SerialOutPath)
		f.bucket("serial.rate_limiter", s.RateLimiter)
	}
}

// logLevel accepts what Firecracker does: any case, and Warn for Warning.
func (f *faults) logLevel(level string) {
	levels := []string{"Off", "Error", "Warning", "Info", "Debug", "Trace"}
	known := func(l string) bool { return strings.EqualFold(l, level) }
	if !slices.ContainsFunc(levels, known) && !strings.EqualFold(level, "Warn") {
		f.oneOf("logger.level", level, levels...)
	}
}

// oneOf checks a name; empty stands for Firecracker's default.
func (f *faults) oneOf(field, value string, allowed ...string) {
	if value == "" || slices.Contains(allowed, value) {
		return
	}
	f.Add(field, "%s is not one of %s%s", strict.Quote(value), strings.Join(allowed, ", "), strict.DidYouMean(value, allowed))
}

// between checks an inclusive range.
func (f *faults) between(field string, value, low, high int) {
	if value < low || value > high {
		f.Add(field, "%d is not in %d..%d", value, low, high)
	}
}

// maxPath is PATH_MAX without the closing zero byte.
const maxPath = 4095

func (f *faults) path(field, path string) {
	if path == "" {
		f.Add(field, "is required")
	}
	f.optionalPath(field, path)
}

func (f *faults) optionalPath(field, path string) {
	if len(path) > maxPath {
		f.Add(field, "has %d bytes, at most %d are allowed", len(path), maxPath)
	}
	f.text(field, path)
}

// text refuses what JSON or a C string can't carry, and what nobody means.
func (f *faults) text(field, text string) {
	if !utf8.ValidString(text) {
		f.Add(field, "%s is not valid UTF-8", strict.Quote(text))
	} else if strings.ContainsFunc(text, unicode.IsControl) {
		f.Add(field, "%s has a control character", strict.Quote(text))
	}
}

func (f *faults) rateLimiter(field string, r *firecracker.RateLimiter) {
	if r != nil {
		f.bucket(field+".bandwidth", r.Bandwidth)
		f.bucket(field+".ops", r.Ops)
	}
}

// maxRefillMS is where Firecracker's nanoseconds overflow.
const maxRefillMS = math.MaxUint64 / 1_000_000

// bucket refuses what Firecracker takes for "no limit" without a word: a size
// or time of 0, and a time that overflows.
func (f *faults) bucket(field string, b *firecracker.TokenBucket) {
	if b == nil {
		return
	}
	if b.Size == 0 {
		f.Add(field+".size", "must be positive")
	}
	if b.RefillTime == 0 {
		f.Add(field+".refill_time", "must be positive")
	}
	if b.RefillTime > maxRefillMS {
		f.Add(field+".refill_time", "%d is not in 1..%d", b.RefillTime, uint64(maxRefillMS))
	}
}
