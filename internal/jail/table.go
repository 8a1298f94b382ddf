package jail

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file of a VM.
type File struct {
	Role   string `json:"role"`   // what it is: "kernel", "drive rootfs", "api-socket"
	Host   string `json:"host"`   // absolute path on the host
	Inside string `json:"inside"` // the path that Firecracker is given
	// Access is what Firecracker may do with it.
	Access Access `json:"-"`
}

// Access says what a confined Firecracker may do with a file.
type Access int

// Kinds of access, to be combined. Zero is for what Firecracker makes itself.
const (
	Read  Access = 1 << iota
	Write        // also what is needed to connect to a socket
	Ours         // made for this VM and gone with it, so that it may be given to the jail's user
	Fresh        // made a moment ago, to stay after the VM: given to him if nothing else helps
	// Recorded is for what a snapshot of the VM will name.
	Recorded
	// Beside is for a socket that looks for others in its directory.
	Beside
)

// Table lists the files of one VM. The zero value is an empty table without a
// jail. It is not safe for concurrent use.
type Table struct {
	Jail *Jail `json:"jail,omitempty"`
	// Links is the working directory of a Firecracker without a jail, the VM's: there it
	// finds what is Recorded, by links, under the names that it would have in a jail.
	Links string `json:"links,omitempty"`
	Files []File `json:"files"`
}

// Add enters a file and returns the path that Firecracker is to be given. A
// relative host path is taken from the working directory of this process, as it
// would be if Firecracker were started by hand.
func (t *Table) Add(role, host string, access Access) (inside string, err error) {
	f, err := t.File(role, host, access)
	if err != nil {
		return "", err
	}
	t.Files = append(t.Files, f)
	return f.Inside, nil
}

// File is a file as [Table.Add] would enter it.
func (t *Table) File(role, host string, access Access) (File, error) {
	if host == "" {
		return File{}, errors.New("empty path of " + role)
	}
	abs, err := filepath.Abs(host)
	if err != nil {
		return File{}, err
	}
	f := File{Role: role, Host: abs, Inside: abs, Access: access}
	if t.Jail != nil || t.Links != "" && access&Recorded != 0 {
		f.Inside = f.name()
	}
	return f, nil
}

// name is where the file of a role is in every jail, from its root, which is
// Firecracker's working directory: "kernel", "drive/rootfs", "sockets/v.sock". A snapshot
// has these names in it, so it finds its files in any other jail as well.
func (f File) name() string {
	if f.Access&Beside != 0 {
		return filepath.Join(socketsName, filepath.Base(f.Host))
	}
	return strings.Replace(f.Role, " ", "/", 1)
}

// socketsName is the directory of sockets that look for others in their directory.
const socketsName = "sockets"

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

// Put puts a file of the host in the place of the one that has its role, or enters it.
func (t *Table) Put(f File) {
	if i := slices.IndexFunc(t.Files, func(g File) bool { return f.Role == g.Role }); i >= 0 {
		t.Files[i] = f
		return
	}
	t.Files = append(t.Files, f)
}
