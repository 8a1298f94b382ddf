package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// SchemaVersion is that of the manifests that this package writes, and the only one that
// it reads.
const SchemaVersion = 1

// Type says how much of the memory a snapshot has.
type Type string

// The types.
const (
	Full Type = "full"
	Diff Type = "diff" // what has changed since its parent
)

// Names of a snapshot's files, in its directory.
const (
	ManifestFile = "snapshot.json"
	StateFile    = "state"
	MemoryFile   = "memory"
	// mergedFile is the whole memory of a diff, once it was needed.
	mergedFile = "memory.whole"
)

// DiskFile is the name of the copy of a drive.
func DiskFile(drive string) string { return "disk-" + drive }

// Manifest says what a snapshot is. [Draft.Commit] fills in Name, ID, the format and what
// is known of the files.
type Manifest struct {
	SchemaVersion int       `json:"schemaVersion"`
	Name          string    `json:"name"`
	ID            string    `json:"id"` // random, so that another one of the same name is told apart
	CreatedAt     time.Time `json:"createdAt"`
	Type          Type      `json:"type"`
	Parent        *Parent   `json:"parent,omitempty"` // of a diff

	FirecrackerVersion firecracker.Version `json:"firecrackerVersion"`
	// Format is the version of the state file, as its head says.
	Format string `json:"format"`
	Host   Host   `json:"host"`

	// VMConfig is the VM file of the VM, as it was given.
	VMConfig   json.RawMessage `json:"vmConfig"`
	State      File            `json:"state"`
	Memory     Memory          `json:"memory"`
	Drives     []Drive         `json:"drives,omitempty"`
	Interfaces []Interface     `json:"interfaces,omitempty"`
	Vsock      *Vsock          `json:"vsock,omitempty"`
	// MMDS is what the guest found in its metadata service.
	MMDS json.RawMessage `json:"mmds,omitempty"`
}

// Parent is the snapshot that a diff follows.
type Parent struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// File is what is known of a file of a snapshot.
type File struct {
	Size int64 `json:"size"` // bytes
	// SHA256 in hexadecimal; "" as long as nobody has asked for it: see [Store.Verify].
	SHA256 string `json:"sha256,omitempty"`
	// Stamp changes whenever the file does.
	Stamp string `json:"stamp,omitempty"`
}

// Memory is that of the guest.
type Memory struct {
	File

	HugePages       string `json:"hugePages,omitempty"` // as in the machine config
	TrackDirtyPages bool   `json:"trackDirtyPages,omitempty"`
	Balloon         bool   `json:"balloon,omitempty"`
}

// Drive is a block device.
type Drive struct {
	ID         string `json:"id"`
	ReadOnly   bool   `json:"readOnly,omitempty"`
	RootDevice bool   `json:"rootDevice,omitempty"`
	// Copy is the name of the drive's copy in the snapshot; "" for one that is only read,
	// and so stays where it is.
	Copy     string `json:"copy,omitempty"`
	HostPath string `json:"hostPath"`
	File     File   `json:"file"`
}

// Interface is a network card.
type Interface struct {
	ID         string `json:"id"`
	HostDevice string `json:"hostDevice"`
	// Made tells that the TAP was made for the VM; what follows is of such a one.
	Made         bool   `json:"made,omitempty"`
	GuestMAC     string `json:"guestMAC,omitempty"`
	GuestAddress string `json:"guestAddress,omitempty"` // with the length of the subnet
	Gateway      string `json:"gateway,omitempty"`
	// GatewayMAC is the gateway's Ethernet address, which the guest remembers.
	GatewayMAC string `json:"gatewayMAC,omitempty"`
}

// Vsock is the socket device.
type Vsock struct {
	CID uint32 `json:"cid"`
	// SocketName is the last element of its socket's path, which a restored VM's has too.
	SocketName string `json:"socketName"`
}

// maxManifest bounds a manifest, in bytes.
const maxManifest = 4 << 20

// ParseManifest reads a manifest. The error is INVALID_SNAPSHOT, with every mistake in
// its Details.
func ParseManifest(data []byte) (*Manifest, error) {
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	e := &errcode.Error{Code: errcode.InvalidSnapshot, Op: "parse snapshot manifest"}
	if e.Err = d.Decode(m); e.Err == nil {
		e.Details = m.mistakes()
	}
	if _, err := d.Token(); e.Err == nil && !errors.Is(err, io.EOF) {
		e.Err = errors.New("something follows the manifest")
	}
	if e.Err != nil || len(e.Details) > 0 {
		return nil, e
	}
	return m, nil
}

// mistakes looks at what paths are made of: a manifest may come from somebody else.
func (m *Manifest) mistakes() (faults []errcode.Detail) {
	add := func(field, format string, args ...any) {
		faults = append(faults, errcode.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if m.SchemaVersion != SchemaVersion {
		add("schemaVersion", "it is %d, and this smartvm reads %d", m.SchemaVersion, SchemaVersion)
	}
	if err := checkName(m.Name); err != nil {
		add("name", "%v", err)
	}
	if !validID.MatchString(m.ID) {
		add("id", "%q is no id", m.ID)
	}
	switch {
	case m.Type != Full && m.Type != Diff:
		add("type", "%q is neither full nor diff", m.Type)
	case m.Type == Diff && m.Parent == nil:
		add("parent", "a diff has one")
	}
	if m.Parent != nil && checkName(m.Parent.Name) != nil {
		add("parent.name", "%q is no name", m.Parent.Name)
	}
	if m.FirecrackerVersion.IsZero() {
		add("firecrackerVersion", "it is required")
	}
	faults = append(faults, m.State.mistakes("state")...)
	faults = append(faults, m.Memory.mistakes("memory")...)
	ids := map[string]bool{}
	for i, d := range m.Drives {
		field := fmt.Sprintf("drives[%d]", i)
		faults = append(faults, d.mistakes(field)...)
		if ids[d.ID] {
			add(field+".id", "there are two of %q", d.ID)
		}
		ids[d.ID] = true
	}
	if err := m.knowsDevices(ids); err != nil {
		add("vmConfig", "%v", err)
	}
	if v := m.Vsock; v != nil && (v.SocketName == "." || v.SocketName == ".." || !validFile.MatchString(v.SocketName)) {
		add("vsock.socketName", "%q is no file name", v.SocketName)
	}
	return faults
}

func (f *File) mistakes(field string) (faults []errcode.Detail) {
	if f.Size < 0 {
		faults = append(faults, errcode.Detail{Field: field + ".size", Message: "it is negative"})
	}
	if f.SHA256 != "" && !validHash.MatchString(f.SHA256) {
		faults = append(faults, errcode.Detail{Field: field + ".sha256", Message: fmt.Sprintf("%q is none", f.SHA256)})
	}
	return faults
}

func (d *Drive) mistakes(field string) []errcode.Detail {
	faults := d.File.mistakes(field + ".file")
	add := func(key, format string, args ...any) {
		faults = append(faults, errcode.Detail{Field: field + "." + key, Message: fmt.Sprintf(format, args...)})
	}
	if !validFile.MatchString(d.ID) {
		add("id", "%q is none", d.ID)
	}
	switch {
	case d.Copy != "" && d.Copy != DiskFile(d.ID):
		add("copy", "%q is not the copy of drive %q", d.Copy, d.ID)
	case d.Copy == "" && !d.ReadOnly:
		add("copy", "a drive that can be written has one")
	}
	if !filepath.IsAbs(d.HostPath) {
		add("hostPath", "%q is not absolute", d.HostPath)
	}
	return faults
}

// devices are those of a VM file that the manifest has to know of, because each stands
// for files of the host.
type devices struct {
	Drives     []drive           `json:"drives"`
	Pmem       []json.RawMessage `json:"pmem"`
	Vsock      *json.RawMessage  `json:"vsock"`
	Interfaces []struct {
		HostDevice string `json:"host_dev_name"`
	} `json:"network-interfaces"`
	Jail struct {
		NetNS string `json:"netns"`
	} `json:"jail"`
}

type drive struct {
	ID     string `json:"drive_id"`
	Socket string `json:"socket"`
}

func (m *Manifest) devices() (*devices, error) {
	var d *devices
	if err := json.Unmarshal(m.VMConfig, &d); err != nil {
		return nil, err
	}
	if d == nil {
		return nil, errors.New("there is no configuration")
	}
	return d, nil
}

// knowsDevices makes sure that the VM has no drive but those of the manifest: another one
// would be a file of this host, which the snapshot has chosen.
func (m *Manifest) knowsDevices(ids map[string]bool) error {
	d, err := m.devices()
	if err != nil {
		return err
	}
	for _, dr := range d.Drives {
		if !ids[dr.ID] {
			return fmt.Errorf("nothing is known of drive %q", dr.ID)
		}
	}
	if d.Vsock != nil && m.Vsock == nil {
		return errors.New("nothing is known of its vsock")
	}
	return nil
}

// validName is the grammar of names, which those of clones begin with: that of VMs, with
// room for a number.
var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,47}$`)
	validID   = regexp.MustCompile(`^[A-Z0-9]{26}$`)
	validHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// validFile are names of files, but for "." and "..".
	validFile = regexp.MustCompile(`^[^/\x00]{1,240}$`)
)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is no name of a snapshot: up to 48 letters, digits and '-', the first a letter or digit", name)
	}
	return nil
}

// part is a file of the snapshot's own, with what is known of it.
type part struct {
	name string
	file *File
}

// parts are all of them, sorted by name.
func (m *Manifest) parts() []part {
	parts := []part{{StateFile, &m.State}, {MemoryFile, &m.Memory.File}}
	for i := range m.Drives {
		if d := &m.Drives[i]; d.Copy != "" {
			parts = append(parts, part{d.Copy, &d.File})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return parts
}
