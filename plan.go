package smartvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/vmconfig"
)

// plan is what a start will do: which files there are, which drives are copied,
// what Firecracker is started with and what it is sent.
type plan struct {
	config *vmconfig.Config // with the paths that Firecracker is given
	files  jail.Table
	stage  []stageJob
	body   int // bytes that a request may have

	fromFile bool // boot from a config file, and not by requests
}

// roleSocket is the API socket in a VM's table of files; the other roles are
// those of vmconfig, with the device's id.
const roleSocket = "api-socket"

// roleSnapshot and roleMemory are the files of a snapshot.
const (
	roleSnapshot = "snapshot"
	roleMemory   = "snapshot-memory"
)

// stageJob is a drive that is to be copied before the boot.
type stageJob struct {
	drive  int    // index in the config
	id     string // of the drive
	source string // absolute host path
}

// makePlan resolves a config. Nothing is changed on the host; every missing
// file is reported at once.
func makePlan(given *vmconfig.Config, dir string, persist bool, j *jail.Jail) (*plan, error) {
	p := &plan{config: given.Clone(), body: bodyLimit(given), files: jail.Table{Jail: j}}
	if j == nil {
		p.files.Links = dir
	}
	if _, err := p.files.Add(roleSocket, filepath.Join(dir, socketName), 0); err != nil {
		return nil, err
	}
	if p.config.Logger == nil {
		p.config.Logger = &firecracker.Logger{}
	}
	if p.config.Logger.LogPath == "" {
		p.config.Logger.LogPath = filepath.Join(dir, logName)
	}
	if p.config.Logger.Level == "" {
		p.config.Logger.Level = "Warning" // at Info every request is logged, boot arguments included
	}
	var faults []errcode.Detail
	p.config.VisitPaths(func(at vmconfig.Path) string {
		role := string(at.Role)
		if at.ID != "" {
			role += " " + at.ID
		}
		inside, err := p.files.Add(role, at.Path, p.access(at))
		if err == nil {
			err = p.check(at, p.files.Host(role))
		}
		if err != nil {
			faults = append(faults, errcode.Detail{Field: at.Field, Message: err.Error()})
		}
		if at.Role == vmconfig.RoleCPUConfig {
			return "" // its content has taken its place
		}
		return inside
	})
	faults = append(faults, p.checkJail()...)
	faults = append(faults, p.checkInterfaces()...)
	if len(faults) > 0 {
		return nil, &Error{Code: errcode.InvalidConfig, Op: "prepare vm", Details: faults}
	}
	for i, d := range p.config.Drives {
		if staged(d, persist) {
			p.stage = append(p.stage, stageJob{drive: i, id: d.DriveID, source: p.files.Host(driveRole(d.DriveID))})
		}
	}
	return p, nil
}

// bodyLimit returns how many bytes a request may have: twice the metadata, so
// that there is room for what is set later.
func bodyLimit(c *vmconfig.Config) int {
	data, err := json.Marshal(c.Metadata)
	if err != nil {
		return firecracker.DefaultBodyLimit
	}
	return max(firecracker.DefaultBodyLimit, 2*len(data))
}

// staged reports whether the VM gets a copy of a drive: by default when it is
// writable, and never of what another process serves.
func staged(d vmconfig.Drive, persist bool) bool {
	switch {
	case d.PathOnHost == "":
		return false
	case d.Ephemeral != nil:
		return *d.Ephemeral
	default:
		return !d.IsReadOnly && !persist
	}
}

// access is what Firecracker does with a file.
func (p *plan) access(at vmconfig.Path) jail.Access {
	switch at.Role {
	case vmconfig.RoleKernel, vmconfig.RoleInitrd:
		return jail.Read
	case vmconfig.RoleDrive:
		return driveAccess(p.config, at.ID)
	case vmconfig.RolePmem:
		for _, d := range p.config.Pmem {
			if d.ID == at.ID && d.ReadOnly {
				return jail.Read | jail.Recorded
			}
		}
		return jail.Read | jail.Write | jail.Recorded
	case vmconfig.RoleVsock:
		return jail.Recorded | jail.Beside
	case vmconfig.RoleGDBSocket, vmconfig.RoleCPUConfig:
		return 0
	default:
	}
	return jail.Read | jail.Write
}

// check looks at one file before Firecracker does, whose message would not name
// the field.
func (p *plan) check(at vmconfig.Path, host string) error {
	switch at.Role {
	case vmconfig.RoleKernel, vmconfig.RoleInitrd, vmconfig.RoleDrive, vmconfig.RolePmem:
		return readable(host)
	case vmconfig.RoleCPUConfig:
		return p.readCPUConfig(host)
	default:
		return nil
	}
}

func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode(); !mode.IsRegular() && mode.Type() != fs.ModeDevice {
		return fmt.Errorf("%s is neither a file nor a block device", path)
	}
	// Asking is cheaper than opening, and as good: Firecracker runs as we do.
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// readCPUConfig puts a CPU template from its file into the config.
func (p *plan) readCPUConfig(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return p.config.CPUConfig.Resolve(data)
}

// threads returns how many threads Firecracker has at least once its guest is
// made: the main one, that of the API, and one for each vCPU.
func (p *plan) threads() int {
	vcpus := 1
	if m := p.config.MachineConfig; m != nil && m.VCPUCount > 0 {
		vcpus = m.VCPUCount
	}
	return 2 + vcpus
}

// args returns Firecracker's command line but for its id.
func (p *plan) args() []string {
	args := append([]string{"--api-sock", p.files.Inside(roleSocket)}, p.config.LogArgs()...)
	if p.body > firecracker.DefaultBodyLimit {
		limit := strconv.Itoa(p.body)
		args = append(args, "--http-api-max-payload-size", limit, "--mmds-size-limit", limit)
	}
	return args
}
