package pool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
)

// leaseDir is the directory in which the user's VMs say which TAPs they have. It is
// where he may make files anyway, so that he can't fill what only root may; its name
// can't be taken by somebody else before.
type leaseDir struct {
	Path string `json:"path"`
	UID  int    `json:"uid"`
}

// Kind implements ledger.Resource.
func (d *leaseDir) Kind() string { return "lease-dir" }

// String implements ledger.Resource.
func (d *leaseDir) String() string { return "directory " + d.Path }

// Release implements ledger.Resource. What the user has put in its place is his, too.
func (d *leaseDir) Release(context.Context) error { return os.RemoveAll(d.Path) }

func (d *leaseDir) make() error {
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return failed(errcode.DirectoryFailed, "make directory", d.Path, err)
	}
	return failed(errcode.DirectoryFailed, "make directory", d.Path, os.Lchown(d.Path, d.UID, -1))
}

func leasesOf(shared string, u User) string {
	return filepath.Join(shared, fmt.Sprintf(".smartvm-taps-%d-%s", u.UID, rand.Text()))
}

// makeLeases makes the directory, again if the user has removed it.
func (w *work) makeLeases() error {
	d := &leaseDir{Path: w.pool.Leases, UID: w.pool.User.UID}
	if !w.recorded(d.Kind()) {
		return w.ledger.Make(d, d.make)
	}
	if _, err := os.Lstat(d.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.make()
}
