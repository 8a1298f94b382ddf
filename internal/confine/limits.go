package confine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
)

// ResourceLimits are those limits of setrlimit(2) that bound what a guest can do to
// its host.
type ResourceLimits struct {
	OpenFiles Bounds `json:"nofile"` // a number
	FileSize  Bounds `json:"fsize"`  // bytes
	CoreSize  Bounds `json:"core"`   // bytes
}

// Bounds are a limit, and how far the process can raise it; nil is no limit.
type Bounds struct {
	Soft *uint64 `json:"soft"`
	Hard *uint64 `json:"hard"`
}

// String returns "1024", "1024, at most 4096" or "unlimited".
func (b Bounds) String() string {
	soft, hard := bound(b.Soft), bound(b.Hard)
	if soft == hard {
		return soft
	}
	return soft + ", at most " + hard
}

func bound(n *uint64) string {
	if n == nil {
		return unlimited
	}
	return strconv.FormatUint(*n, 10)
}

const unlimited = "unlimited"

func (r *Report) readLimits(_ context.Context, dir proc.Dir) error {
	text, err := dir.Read("limits", smallSize)
	if hidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	limits, err := parseLimits(text)
	r.Limits = &limits
	return err
}

// parseLimits reads /proc/PID/limits, a table whose first column has blanks in it.
func parseLimits(text []byte) (limits ResourceLimits, err error) {
	rows := map[string]*Bounds{
		"Max open files ": &limits.OpenFiles, "Max file size ": &limits.FileSize, "Max core file size ": &limits.CoreSize,
	}
	for line := range bytes.Lines(text) {
		for name, b := range rows {
			rest, found := strings.CutPrefix(string(line), name)
			if !found {
				continue
			}
			if *b, err = parseBounds(strings.Fields(rest)); err != nil {
				return limits, fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
			}
			delete(rows, name)
		}
	}
	if len(rows) > 0 {
		return limits, errors.New("the table of limits lacks some")
	}
	return limits, nil
}

func parseBounds(fields []string) (b Bounds, err error) {
	const soft, hard = 0, 1
	if len(fields) <= hard {
		return b, errors.New("a limit has no values")
	}
	if b.Soft, err = parseBound(fields[soft]); err != nil {
		return b, err
	}
	b.Hard, err = parseBound(fields[hard])
	return b, err
}

func parseBound(text string) (*uint64, error) {
	if text == unlimited {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return &n, err
}
