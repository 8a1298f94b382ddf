package cgroup

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/proc"
)

// DefaultParent is the group in which groups are made. It is at the top, and not in
// that of the service that we may be part of, which ends with all that is in it.
const DefaultParent = "smartvm"

// Options say which group is to be made.
type Options struct {
	// Name is what the group's name begins with, such as the id of a VM: at most 200
	// bytes, without a slash.
	Name string
	// Parent is the path, from the mount point, of the group in which it is made, such as
	// "a/b". What is missing of it is made too. No process may be in it, nor in those
	// above it, but for the host's first group. Default: [DefaultParent].
	Parent string
	// Limits hold from the start.
	Limits Limits
}

// Group is a group of a VM in a ledger. Its fields are what another process needs to
// find it again; nobody else writes them.
type Group struct {
	Mount  string `json:"mount"`
	Path   string `json:"path"` // from the mount point
	BootID string `json:"boot_id"`
	// Missing are the parents that were not there, so that they are ours if we are
	// killed before we can mark them.
	Missing []string `json:"missing,omitempty"`

	limits Limits
}

// New plans a group; nothing is made yet. The error is INVALID_CONFIG about options,
// and CGROUP_UNAVAILABLE if this host can't do it.
func New(o Options) (*Group, error) {
	parent := cmp.Or(o.Parent, DefaultParent)
	if err := errors.Join(checkParent(parent), checkName(o.Name)); err != nil {
		return nil, err
	}
	tree, err := Find()
	if err != nil {
		return nil, err
	}
	if err := tree.Check(o.Limits); err != nil {
		return nil, err
	}
	g := &Group{
		Mount: tree.Mount, Path: parent + "/" + o.Name + "." + strings.ToLower(rand.Text()[:12]),
		BootID: proc.BootID(), limits: o.Limits,
	}
	return g, g.noteMissing()
}

// noteMissing looks which parents are not there.
func (g *Group) noteMissing() error {
	root, err := openTree(g.Mount)
	if err != nil {
		return failure("open cgroups", g.Mount, err)
	}
	defer root.Close()
	for _, p := range parents(g.Path) {
		if _, err := root.Lstat(p); errors.Is(err, fs.ErrNotExist) {
			g.Missing = append(g.Missing, p)
		} else if err != nil {
			return failure("look at cgroup", p, err)
		}
	}
	return nil
}

func checkParent(parent string) error {
	if !fs.ValidPath(parent) || parent == "." || strings.ContainsFunc(parent, unicode.IsControl) {
		return &errcode.Error{
			Code: errcode.InvalidConfig, Op: "check cgroup parent", Subject: fmt.Sprintf("%q", parent),
			Err: errors.New("it is not a relative path, or has . or .. in it"), Hint: "the default is " + DefaultParent,
		}
	}
	return nil
}

// maxName leaves room for our part of a name, of which the kernel takes 255 bytes.
const maxName = 200

func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, '/') || name[0] == '.' || strings.ContainsFunc(name, unicode.IsControl) {
		return &errcode.Error{
			Code: errcode.InvalidConfig, Op: "check cgroup name", Subject: fmt.Sprintf("%q", name),
			Err: fmt.Errorf("it is not a name of 1..%d bytes without / and control characters, that begins with no dot", maxName),
		}
	}
	return nil
}

// parents returns the groups that path is in, without the mount point, outermost
// first.
func parents(path string) []string {
	var out []string
	for i := range path {
		if path[i] == '/' {
			out = append(out, path[:i])
		}
	}
	return out
}

// Kind implements ledger.Resource.
func (g *Group) Kind() string { return "cgroup" }

// String implements ledger.Resource.
func (g *Group) String() string { return "cgroup " + g.Path }

// Open returns the group's directory, for a process to be started in it. The caller
// closes it.
func (g *Group) Open() (*os.File, error) {
	root, err := openTree(g.Mount)
	if err != nil {
		return nil, failure("open cgroups", g.Mount, err)
	}
	defer root.Close()
	dir, err := root.Open(g.Path)
	return dir, failure("open cgroup", g.Path, err)
}
