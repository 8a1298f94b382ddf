package smartvm

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"

	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/vmconfig"
)

// StagedDrive tells where a VM's private copy of a drive is.
type StagedDrive struct {
	ID     string `json:"id"`
	Source string `json:"source"` // the file that stays as it is
	Path   string `json:"path"`   // the copy that the guest uses
	Method string `json:"method"` // how it was copied: reflink, copy_file_range, sendfile, read_write
}

// copyDrives copies the drives that are the guest's own, while a Firecracker starts that
// does not need them yet.
func (l *launch) copyDrives(ctx context.Context) error {
	jobs := l.plan.stage
	if len(jobs) == 0 {
		return nil
	}
	stage := func(ctx context.Context) (err error) {
		l.copies, err = l.vm.stageDrives(ctx, l.ledger, jobs)
		return err
	}
	if !l.early() {
		return stage(ctx)
	}
	l.copying = goMeanwhile(ctx, stage)
	return nil
}

// useCopies puts the copies in the place of the drives that they are of.
func (l *launch) useCopies() error {
	if err := l.copying.wait(); err != nil {
		return err
	}
	p := l.plan
	for i, job := range p.stage {
		f, err := p.files.File(driveRole(job.id), l.copies[i].Path, driveAccess(p.config, job.id)|jail.Ours)
		if err != nil {
			return err
		}
		p.files.Put(f)
		p.config.Drives[job.drive].PathOnHost = f.Inside
	}
	return nil
}

// stageDrives copies drives. Each goes into the VM's directory, or below the data directory
// when only there it can be shared with its source (a tmpfs has no reflinks) or when it does
// not fit into the former.
func (v *VM) stageDrives(ctx context.Context, led *ledger.Ledger, jobs []stageJob) ([]StagedDrive, error) {
	near, err := v.makeDrivesDir()
	if err != nil {
		return nil, err
	}
	defer near.Close()
	far := &stagingDir{Path: filepath.Join(v.manager.DataDir(), stagingName, v.stagingName())}
	farRoot, err := far.create(led)
	if err != nil {
		return nil, err
	}
	defer farRoot.Close()
	var done []StagedDrive
	for _, job := range jobs {
		copied, err := v.stageDrive(ctx, job, []*os.Root{near, farRoot})
		if err != nil {
			return nil, fmt.Errorf("drive %s: %w", job.id, err)
		}
		done = append(done, copied)
	}
	return done, nil
}

func (v *VM) stageDrive(ctx context.Context, job stageJob, dirs []*os.Root) (StagedDrive, error) {
	place, err := v.manager.space.Choose(job.source, dirs)
	if err != nil {
		return StagedDrive{}, err
	}
	defer place.Release()
	result, err := place.Copy(ctx, job.id)
	if err != nil {
		return StagedDrive{}, err
	}
	return StagedDrive{
		ID: job.id, Source: job.source, Path: filepath.Join(place.Dir.Name(), job.id), Method: string(result.Method),
	}, nil
}

// driveAccess is what the guest may do with a drive. Those of a snapshot, which no
// config has, are not known to be read-only.
func driveAccess(c *vmconfig.Config, id string) jail.Access {
	for _, d := range c.Drives {
		if d.DriveID == id && d.IsReadOnly {
			return jail.Read | jail.Recorded
		}
	}
	return jail.Read | jail.Write | jail.Recorded
}

func driveRole(id string) string { return string(vmconfig.RoleDrive) + " " + id }

func (v *VM) makeDrivesDir() (*os.Root, error) {
	dir := filepath.Join(v.Dir(), drivesName)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// stagingName is the directory below the data directory.
const stagingName = "staging"

// stagingSeparator can't be in an id.
const stagingSeparator = "~"

// stagingName names the VM's directory so that it can be told to be an orphan
// even if a reboot took the ledger: by the boot, and by the runtime directory.
func (v *VM) stagingName() string {
	return strings.Join([]string{string(v.id), shortBoot(), shortHash(v.manager.RuntimeDir())}, stagingSeparator)
}

func shortBoot() string {
	id, _, _ := strings.Cut(proc.BootID(), "-")
	return id
}

func shortHash(text string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return fmt.Sprintf("%08x", h.Sum32())
}

// stagingDir is a directory of staged drives in a ledger.
type stagingDir struct {
	Path string `json:"path"`
}

// create makes the directory. One that exists has no owner: its name is this
// VM's alone, and this process has just got that.
func (s *stagingDir) create(led *ledger.Ledger) (*os.Root, error) {
	err := led.Make(s, func() error {
		return errors.Join(os.RemoveAll(s.Path), os.MkdirAll(s.Path, 0o700))
	})
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(s.Path)
}

// Kind implements ledger.Resource.
func (s *stagingDir) Kind() string { return "staging" }

// String implements ledger.Resource.
func (s *stagingDir) String() string { return "staged drives " + s.Path }

// Release implements ledger.Resource.
func (s *stagingDir) Release(context.Context) error { return os.RemoveAll(s.Path) }
