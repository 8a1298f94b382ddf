package cgroup

import "context"

// Wanted returns the lines that the limits write, as "file value".
func Wanted(l Limits) []string {
	var out []string
	for _, s := range l.settings() {
		out = append(out, s.file+" "+s.value)
	}
	return out
}

// TreeOf is the tree of a host that has these mounts and controllers.
func TreeOf(mountinfo string, inner bool, controllers ...string) *Tree {
	return &Tree{Mount: "/sys/fs/cgroup", Controllers: controllers, old: oldControllers(parseMounts(mountinfo)), inner: inner}
}

// Points returns the mount points that are found in a mountinfo.
func Points(mountinfo string) []string {
	var out []string
	for _, m := range parseMounts(mountinfo) {
		out = append(out, m.Kind+" "+m.Point)
	}
	return out
}

// WholeDisk, and what reads the kernel's files.
var (
	WholeDisk      = wholeDisk
	Strictest      = strictest
	Failure        = failure
	ParseDiskLimit = parseDiskLimit
	ParseFlat      = parseFlat
	ParseCores     = parseCores
)

// KillEach is what kills on a kernel without cgroup.kill.
func (g *Group) KillEach(ctx context.Context) error {
	root, err := openTree(g.Mount)
	if err != nil {
		return err
	}
	defer root.Close()
	return killEach(ctx, root, g.Path)
}

// AwaitEmpty waits until the group is empty.
func (g *Group) AwaitEmpty(ctx context.Context) error {
	root, err := openTree(g.Mount)
	if err != nil {
		return err
	}
	defer root.Close()
	return awaitEmpty(ctx, root, g.Path)
}
