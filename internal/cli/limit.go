package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/vmconfig"
)

// limitFlag is the flag --limit, which can be repeated.
type limitFlag struct {
	limits *vmconfig.Limits
	texts  []string
}

// String implements pflag.Value.
func (l *limitFlag) String() string { return strings.Join(l.texts, ",") }

// Type implements pflag.Value.
func (*limitFlag) Type() string { return "KEY=VALUE,..." }

// Set implements pflag.Value.
func (l *limitFlag) Set(text string) error {
	if l.limits == nil {
		l.limits = &vmconfig.Limits{}
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		if err := l.set(key, value); err != nil {
			return err
		}
	}
	l.texts = append(l.texts, text)
	return nil
}

var errLimit = errors.New("want cpu=CORES, weight=1..10000, memory=SIZE or pids=NUMBER")

func (l *limitFlag) set(key, value string) (err error) {
	switch key {
	case "cpu":
		l.limits.CPU, err = strconv.ParseFloat(value, 64)
	case "weight":
		l.limits.CPUWeight, err = strconv.Atoi(value)
	case "memory":
		var size mebibytes
		err = size.Set(value)
		l.limits.MemoryMiB = int(size)
	case "pids":
		l.limits.PIDs, err = strconv.Atoi(value)
	default:
		return fmt.Errorf("%q is no limit: %w", key, errLimit)
	}
	if err != nil {
		return fmt.Errorf("%s=%q: %w", key, value, errLimit)
	}
	return nil
}

// addTo puts the flag's limits over those of a config.
func (l *limitFlag) addTo(config *vmconfig.Config) {
	if l.limits == nil {
		return
	}
	if config.Limits == nil {
		config.Limits = &vmconfig.Limits{}
	}
	to := config.Limits
	if l.limits.CPU != 0 {
		to.CPU = l.limits.CPU
	}
	if l.limits.CPUWeight != 0 {
		to.CPUWeight = l.limits.CPUWeight
	}
	if l.limits.MemoryMiB != 0 {
		to.MemoryMiB = l.limits.MemoryMiB
	}
	if l.limits.PIDs != 0 {
		to.PIDs = l.limits.PIDs
	}
}
