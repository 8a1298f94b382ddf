package confine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/mountinfo"
	"github.com/smartvm/smartvm/internal/proc"
)

// Cgroup is a process's place in a hierarchy.
type Cgroup struct {
	// Version is 2 for the unified hierarchy, else 1.
	Version int `json:"version"`
	// Controllers are those of an old hierarchy.
	Controllers []string `json:"controllers,omitempty"`
	// Path is below the mount of the hierarchy, as we see it.
	Path string `json:"path"`
	// Limits are all that bind the process: those of its cgroup and of the ones above.
	// Nil means that they could not be read.
	Limits []CgroupLimit `json:"limits"`
}

// CgroupLimit is a limit that a cgroup puts on all processes in and below it.
type CgroupLimit struct {
	// Controller is memory, cpu, pids or io.
	Controller string `json:"controller"`
	Path       string `json:"path"`
	File       string `json:"file"`  // such as memory.max
	Value      string `json:"value"` // as the kernel writes it
}

// limitFile is a file of a controller.
type limitFile struct {
	controller, name string
}

// Those of Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 of the kernel.
var (
	unifiedFiles = []limitFile{{"memory", "memory.max"}, {"cpu", "cpu.max"}, {"pids", "pids.max"}, {"io", "io.max"}}
	oldFiles     = []limitFile{
		{"memory", "memory.limit_in_bytes"},
		{"cpu", "cpu.cfs_quota_us"},
		{"pids", "pids.max"},
		{"io", "blkio.throttle.read_bps_device"},
		{"io", "blkio.throttle.write_bps_device"},
		{"io", "blkio.throttle.read_iops_device"},
		{"io", "blkio.throttle.write_iops_device"},
	}
)

// oldControllers are the names in old hierarchies of what the limits are about.
var oldControllers = []string{"memory", "cpu", "pids", "blkio"}

func (r *Report) readCgroups(_ context.Context, dir proc.Dir) error {
	text, err := dir.Read("cgroup", listSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mounts, err := mountinfo.Own()
	if err != nil {
		return err
	}
	if r.Cgroups, err = parseCgroups(text); err != nil {
		return err
	}
	for i := range r.Cgroups {
		r.Cgroups[i].readLimits(os.DirFS("/"), mounts)
	}
	return nil
}

// parseCgroups reads /proc/PID/cgroup, lines of "ID:CONTROLLERS:PATH", see cgroups(7).
// Old hierarchies that limit nothing are left out.
func parseCgroups(text []byte) ([]Cgroup, error) {
	groups := []Cgroup{}
	for line := range bytes.Lines(text) {
		id, rest, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		controllers, path, again := strings.Cut(rest, ":")
		if !found || !again || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("a line of the cgroup file has another form: %q", line)
		}
		g := Cgroup{Version: 1, Path: path}
		if id == "0" && controllers == "" {
			g.Version = 2
		} else {
			g.Controllers = strings.Split(controllers, ",")
		}
		if g.Version == 2 || slices.ContainsFunc(g.Controllers, func(c string) bool { return slices.Contains(oldControllers, c) }) {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// readLimits reads the limits of the cgroup and of those above, below a tree of files
// with these mounts.
func (g *Cgroup) readLimits(tree fs.FS, mounts []mountinfo.Mount) {
	m, found := g.hierarchy(mounts)
	if !found || !mountinfo.Below(m.Root, g.Path) { // elsewhere, as "/../x" is too
		return
	}
	files := unifiedFiles
	if g.Version == 1 {
		files = oldFiles
	}
	top := strings.TrimPrefix(m.Point, "/")
	limits := []CgroupLimit{}
	for at := path.Join("/", strings.TrimPrefix(g.Path, m.Root)); ; at = path.Dir(at) {
		dir := path.Join(top, at)
		if _, err := fs.Stat(tree, dir); err != nil {
			return
		}
		for _, f := range files {
			value, err := readLimit(tree, path.Join(dir, f.name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // the controller is not switched on there, or it is the root
			}
			if err != nil {
				return
			}
			if value != "" {
				limits = append(limits, CgroupLimit{f.controller, path.Join(m.Root, at), f.name, value})
			}
		}
		if at == "/" {
			break
		}
	}
	g.Limits = limits
}

// hierarchy returns where the cgroup's hierarchy is mounted.
func (g *Cgroup) hierarchy(mounts []mountinfo.Mount) (mountinfo.Mount, bool) {
	i := slices.IndexFunc(mounts, func(m mountinfo.Mount) bool {
		if g.Version == 2 {
			return m.Kind == "cgroup2"
		}
		return m.Kind == "cgroup" && m.SuperHas(g.Controllers[0])
	})
	if i < 0 {
		return mountinfo.Mount{}, false
	}
	return mounts[i], true
}

// readLimit returns what a file limits to, "" for no limit.
func readLimit(tree fs.FS, name string) (string, error) {
	f, err := tree.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, smallSize))
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(text))
	if first, _, _ := strings.Cut(value, " "); first == "max" || value == "-1" {
		return "", nil
	}
	// Old memory limits count pages, and say the most that there can be (page_counter.h).
	if n, err := strconv.ParseUint(value, 10, 64); err == nil && n >= 1<<62 {
		return "", nil
	}
	return value, nil
}
