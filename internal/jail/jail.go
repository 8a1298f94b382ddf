// Package jail knows where each file of a VM is: on the host, and as its
// Firecracker sees it. It is the only place that translates between the two.
//
// Without a jailer both are the same path. Everything that hands a path to
// Firecracker takes it from a [Table] all the same, so that a jail changes this
// package and nothing else.
package jail

import (
	"errors"
	"path/filepath"
	"slices"
)

// File is one file of a VM.
type File struct {
	Role   string `json:"role"`   // what it is: "kernel", "drive rootfs", "api socket"
	Host   string `json:"host"`   // absolute path on the host
	Inside string `json:"inside"` // the path that Firecracker is given
}

// Table lists the files of one VM. The zero value is an empty table without a
// jail. It is not safe for concurrent use.
type Table struct {
	Files []File `json:"files"`
}

// Add enters a file and returns the path that Firecracker is to be given. A
// relative host path is taken from the working directory of this process, as it
// would be if Firecracker were started by hand.
func (t *Table) Add(role, host string) (inside string, err error) {
	if host == "" {
		return "", errors.New("empty path of " + role)
	}
	abs, err := filepath.Abs(host)
	if err != nil {
		return "", err
	}
	t.Files = append(t.Files, File{Role: role, Host: abs, Inside: abs})
	return abs, nil
}

// Host returns where the file of a role is on the host, "" when there is none.
func (t *Table) Host(role string) string { return t.find(role).Host }

// Inside returns the path by which Firecracker knows the file of a role, "" when
// there is none.
func (t *Table) Inside(role string) string { return t.find(role).Inside }

// Hosts returns where the files are on the host.
func (t *Table) Hosts() []string {
	hosts := make([]string, len(t.Files))
	for i, f := range t.Files {
		hosts[i] = f.Host
	}
	return hosts
}

func (t *Table) find(role string) File {
	for _, f := range t.Files {
		if f.Role == role {
			return f
		}
	}
	return File{}
}

// Replace puts another file of the host in a role's place, or enters it, and
// returns the path that Firecracker is to be given.
func (t *Table) Replace(role, host string) (inside string, err error) {
	i := slices.IndexFunc(t.Files, func(f File) bool { return f.Role == role })
	if i < 0 {
		return t.Add(role, host)
	}
	var one Table
	if _, err := one.Add(role, host); err != nil {
		return "", err
	}
	t.Files[i] = one.Files[0]
	return t.Files[i].Inside, nil
}
