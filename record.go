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
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// Names of the files in a VM's directory.
const (
	socketName = "firecracker.sock"
	logName    = "firecracker.log"
	stderrName = "firecracker.stderr"
	drivesName = "drives"
	endedName  = "ended.json"
	askedName  = "asked" // exists once a process has begun to stop the VM
	keptName   = "kept"  // exists once a keeper is at work
)

// Marks in a VM's ledger.
const (
	markStarted = "started" // the guest runs: what follows is not a half-made start
	markLeft    = "left"    // its owner let go of it alive, on purpose
)

// maxSocketPath is the kernel's limit for the path of a Unix socket, without the closing NUL.
const maxSocketPath = 107

func socketPath(runtimeDir string, id vmconfig.ID) string {
	return filepath.Join(runtimeDir, string(id), socketName)
}

func checkSocketPath(runtimeDir string, id vmconfig.ID) error {
	path := socketPath(runtimeDir, id)
	if len(path) <= maxSocketPath {
		return nil
	}
	return &Error{
		Code: errcode.PathTooLong, Op: "create vm", Subject: string(id),
		Err:  fmt.Errorf("the socket path %s has %d bytes, the kernel allows %d", path, len(path), maxSocketPath),
		Hint: fmt.Sprintf("shorten the runtime directory %s by %d bytes (SMARTVM_RUNTIME_DIR), or the id", runtimeDir, len(path)-maxSocketPath),
	}
}

// record is what a VM's ledger says about the VM itself. It is empty when its
// owner was killed before it got that far.
type record struct {
	ID      vmconfig.ID      `json:"id"`
	Created time.Time        `json:"created"`
	Config  *vmconfig.Config `json:"config"` // as it was given
	Binary  image.Binary     `json:"firecracker"`
	Files   jail.Table       `json:"files"`
	Drives  []StagedDrive    `json:"drives,omitempty"`
	TAPs    []hostnet.TAP    `json:"taps,omitempty"`
	// Restored is how a guest of a snapshot knows its interfaces.
	Restored []snapshot.Interface `json:"restored,omitempty"`
}

// ExitStatus is how a process ended: its exit code, or the signal that ended it.
type ExitStatus = proc.Status

// Ended tells how a VM's Firecracker ended.
type Ended struct {
	Time   time.Time  `json:"time"`
	Status ExitStatus `json:"status"`
	// Asked is set when smartvm made it end.
	Asked bool `json:"asked"`
	// Log has the last lines of Firecracker's own log and standard error.
	Log []string `json:"log,omitempty"`
}

// state returns what this end means. Up to Firecracker v1.14 a guest's triple
// fault is a clean exit as well.
func (e *Ended) state() State {
	if e.Asked || e.Status.Success() {
		return Stopped
	}
	return Failed
}

// recordEnd writes down for other processes how Firecracker ended. Several may
// have watched it, and only its parent is sure to know the status: what is known
// replaces what is not, and never the other way round.
func recordEnd(dir string, ended *Ended) error {
	path := filepath.Join(dir, endedName)
	if ended.Status.Known {
		return writeJSON(path, ended)
	}
	tmp, err := writeTemporary(path, ended)
	if err != nil {
		return err
	}
	err = os.Link(tmp, path)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(tmp))
}

// maxRecord bounds what is read of a file in a VM's directory.
const maxRecord = 4 << 20

func readJSON(path string, value any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

// writeJSON makes path appear with all of value in it, or not at all.
func writeJSON(path string, value any) error {
	tmp, err := writeTemporary(path, value)
	if err != nil {
		return err
	}
	return os.NewSyscallError("rename", unix.Rename(tmp, path)) // os.Rename looks at the target first
}

// writeFirst makes a file that nobody looks at before it is whole.
func writeFirst(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return plainfile.Write(path, data)
}

// writeTemporary writes value beside path, under a name that no other process uses.
func writeTemporary(path string, value any) (string, error) {
	tmp := path + "." + strconv.Itoa(os.Getpid())
	if err := writeFirst(tmp, value); err != nil {
		return "", errors.Join(err, os.Remove(tmp))
	}
	return tmp, nil
}
