package confine

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Credentials are whom a thread acts as, and what it may do.
type Credentials struct {
	UIDs IDs `json:"uids"`
	GIDs IDs `json:"gids"`
	// Groups are the supplementary ones.
	Groups       []int        `json:"groups"`
	Capabilities Capabilities `json:"capabilities"`
	// NoNewPrivs is true when no program that it executes can give it more rights.
	NoNewPrivs bool `json:"no_new_privs"`
}

func (c *Credentials) sameAs(other *Credentials) bool {
	a, b := *c, *other
	a.NoNewPrivs, b.NoNewPrivs = false, false // each thread is judged by its own
	return reflect.DeepEqual(a, b)
}

// IDs are the four user or group ids of a thread.
type IDs struct {
	Real       int `json:"real"`
	Effective  int `json:"effective"`
	Saved      int `json:"saved"`
	FileSystem int `json:"file_system"`
}

// Has reports whether one of them is id.
func (i IDs) Has(id int) bool {
	return i.Real == id || i.Effective == id || i.Saved == id || i.FileSystem == id
}

// status is what is of interest in a status file.
type status struct {
	Credentials

	name    string
	seccomp string
	filters *int
}

var errStatus = errors.New("a status file has another form")

// parseStatus reads /proc/PID/status or that of a thread, see proc_pid_status(5).
func parseStatus(text []byte) (s status, err error) {
	fields := map[string]string{}
	for line := range bytes.Lines(text) {
		key, value, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		if _, again := fields[key]; !found || again {
			continue
		}
		fields[key] = strings.TrimSpace(value)
	}
	s.name = fields["Name"]
	if s.UIDs, err = parseIDs(fields["Uid"]); err != nil {
		return s, err
	}
	if s.GIDs, err = parseIDs(fields["Gid"]); err != nil {
		return s, err
	}
	if s.Groups, err = parseNumbers(fields["Groups"]); err != nil {
		return s, err
	}
	if s.Capabilities, err = parseCapabilities(fields); err != nil {
		return s, err
	}
	switch fields["NoNewPrivs"] {
	case "1":
		s.NoNewPrivs = true
	case "0":
	default:
		return s, fmt.Errorf("%w: NoNewPrivs is %q", errStatus, fields["NoNewPrivs"])
	}
	// A kernel without seccomp has no such line.
	modes := map[string]string{"": "disabled", "0": "disabled", "1": "strict", "2": "filter"}
	mode, known := modes[fields["Seccomp"]]
	if !known {
		return s, fmt.Errorf("%w: Seccomp is %q", errStatus, fields["Seccomp"])
	}
	s.seccomp = mode
	if number, found := fields["Seccomp_filters"]; found {
		n, err := strconv.Atoi(number)
		if err != nil {
			return s, err
		}
		s.filters = &n
	}
	return s, nil
}

func parseIDs(text string) (IDs, error) {
	numbers, err := parseNumbers(text)
	if err != nil || len(numbers) != 4 {
		return IDs{}, errors.Join(fmt.Errorf("%w: ids are %q", errStatus, text), err)
	}
	return IDs{numbers[0], numbers[1], numbers[2], numbers[3]}, nil
}

func parseNumbers(text string) ([]int, error) {
	numbers := []int{}
	for field := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func parseInt(text []byte) (int, error) { return strconv.Atoi(strings.TrimSpace(string(text))) }
