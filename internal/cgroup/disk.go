package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// Disk is a block device, by its numbers.
type Disk struct{ Major, Minor uint32 }

// String returns "8:0".
func (d Disk) String() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// Rates are limits of a disk in bytes and operations per second; zero means none.
type Rates struct{ ReadBytes, WriteBytes, ReadOps, WriteOps uint64 }

// DiskLimit is how much the group may ask of one disk.
type DiskLimit struct {
	Disk
	Rates
}

// keys are the words of io.max, with what they are about.
func (r *Rates) keys() []struct {
	name string
	rate *uint64
} {
	return []struct {
		name string
		rate *uint64
	}{{"rbps", &r.ReadBytes}, {"wbps", &r.WriteBytes}, {"riops", &r.ReadOps}, {"wiops", &r.WriteOps}}
}

// String returns a line of io.max, without what is not limited.
func (d DiskLimit) String() string {
	var b strings.Builder
	b.WriteString(d.Disk.String())
	for _, key := range d.keys() {
		if *key.rate > 0 {
			b.WriteString(" " + key.name + "=" + strconv.FormatUint(*key.rate, 10))
		}
	}
	return b.String()
}

// strictest joins the limits of each disk: the least of each rate counts.
func strictest(limits []DiskLimit) []DiskLimit {
	var out []DiskLimit
	at := map[Disk]int{}
	for _, l := range limits {
		i, known := at[l.Disk]
		if !known {
			at[l.Disk] = len(out)
			out = append(out, l)
			continue
		}
		ours := out[i].keys()
		for k, theirs := range l.keys() {
			if rate := *theirs.rate; rate > 0 && (*ours[k].rate == 0 || rate < *ours[k].rate) {
				*ours[k].rate = rate
			}
		}
	}
	return out
}

// parseDiskLimit reads a line of io.max. What it does not know is left out.
func parseDiskLimit(line string) (DiskLimit, error) {
	var d DiskLimit
	words := strings.Fields(line)
	if len(words) == 0 {
		return d, fmt.Errorf("io.max: no disk in %q", line)
	}
	disk, err := parseDisk(words[0])
	if err != nil {
		return d, err
	}
	d.Disk = disk
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		for _, key := range d.keys() {
			if key.name != name {
				continue
			}
			if *key.rate, err = parseNumber(value); err != nil {
				return d, fmt.Errorf("io.max: %w", err)
			}
		}
	}
	return d, nil
}

func parseDisk(text string) (Disk, error) {
	major, minor, _ := strings.Cut(strings.TrimSpace(text), ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if errA != nil || errB != nil {
		return Disk{}, fmt.Errorf("%q is not the number of a disk", text)
	}
	return Disk{uint32(a), uint32(b)}, nil
}
