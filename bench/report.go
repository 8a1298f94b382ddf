package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is what is printed and written as JSON. Times are in milliseconds.
type report struct {
	Time    time.Time       `json:"time"`
	Machine Machine         `json:"machine"`
	Goals   []Goal          `json:"goals"`
	One     []OneResult     `json:"one_vm"`
	Fleet   []FleetResult   `json:"fleet"`
	Jail    []JailResult    `json:"jail"`
	Crowd   []CrowdResult   `json:"jailed_crowd"`
	Restore []RestoreResult `json:"restored"`
	Clones  []CloneResult   `json:"clones"`
	Create  []CreateResult  `json:"created"`
	Private []PrivateResult `json:"private_memory"`
	Staging []StageResult   `json:"staging"`
	Images  []ImageResult   `json:"images"`
	Network []NetworkResult `json:"network"`
	Notes   []string        `json:"notes"`
}

// Machine is where the numbers come from.
type Machine struct {
	Kernel      string `json:"kernel"`
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	Go          string `json:"go"`
	Firecracker string `json:"firecracker"`
	Scheduling  string `json:"scheduling"`  // of this program and its VMs
	LoadBefore  string `json:"load_before"` // 1, 5 and 15 minutes
	LoadAfter   string `json:"load_after"`
}

// OneResult is an arm that starts one VM.
type OneResult struct {
	Arm     string  `json:"arm"`
	What    string  `json:"what"`
	Marker  Summary `json:"marker_ms"`
	Started float64 `json:"started_ms,omitzero"` // trimmed mean until Start or InstanceStart returned
	CPU     float64 `json:"controller_cpu_ms"`
	Floor   Ratio   `json:"ratio_to_floor"`
	Fair    Ratio   `json:"ratio_to_floor_files,omitzero"`
}

// FleetResult is an arm that starts and stops many VMs.
type FleetResult struct {
	Arm       string  `json:"arm"`
	What      string  `json:"what"`
	Rounds    int     `json:"rounds"`
	VMs       int     `json:"vms"`
	PerSecond float64 `json:"vms_per_second"`
	Rate      Ratio   `json:"rate_ratio_to_raw"`
	CPU       float64 `json:"controller_cpu_ms_per_vm"`
	PeakMiB   float64 `json:"controller_peak_rss_mib"`
	Stop      Summary `json:"stop_all_ms"`
	StopRatio Ratio   `json:"stop_ratio_to_raw"`
	StopCPU   float64 `json:"stop_controller_cpu_ms_per_vm"`
}

// StageResult is one way of staging between two file systems.
type StageResult struct {
	Pair      string  `json:"pair"`
	Way       string  `json:"way"`
	Method    string  `json:"method,omitzero"` // that smartvm chose
	Took      Summary `json:"took_ms"`
	Best      Ratio   `json:"ratio_to_best,omitzero"` // of smartvm
	Allocated int64   `json:"allocated_bytes"`
}

// ImageResult is one way of doing something with the files of images.
type ImageResult struct {
	Task  string  `json:"task"`
	Way   string  `json:"way"`
	Took  Summary `json:"took_ms"`
	First Ratio   `json:"ratio_to_first,omitzero"` // way of the same task
}

// NetworkResult is one way to do something with networks.
type NetworkResult struct {
	Part         string  `json:"part"`
	Task         string  `json:"task"`
	Way          string  `json:"way"`
	What         string  `json:"what,omitzero"`
	Judged       bool    `json:"judged"` // there is a goal for it
	Took         Summary `json:"took_ms"`
	Mean         Ratio   `json:"mean_ms"`                 // trimmed
	First        Ratio   `json:"ratio_to_first,omitzero"` // way of the same task
	MiBPerSecond float64 `json:"mib_per_second,omitzero"`
	Rate         Ratio   `json:"rate_ratio_to_first,omitzero"`
}

func newReport(l *lab) *report {
	return &report{
		Time: time.Now().UTC().Truncate(time.Second),
		Machine: Machine{
			Kernel: kernelRelease(), CPU: cpuModel(), Cores: runtime.NumCPU(), Go: runtime.Version(),
			Firecracker: l.binary.Version.String(), Scheduling: scheduling(), LoadBefore: load(),
		},
		Goals: []Goal{}, One: []OneResult{}, Fleet: []FleetResult{}, Jail: []JailResult{}, Crowd: []CrowdResult{},
		Staging: []StageResult{}, Images: []ImageResult{}, Network: []NetworkResult{}, Notes: []string{},
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}

func (r *report) finish() {
	r.Machine.LoadAfter = load()
	r.Goals = r.goals()
}

func (r *report) save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // numbers to be read by anybody
}
