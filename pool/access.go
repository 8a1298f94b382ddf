package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/acl"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
)

// granted is what a user of VMs does with a device.
const granted = acl.Read | acl.Write

// access is a user's entry in the access control list of a device.
type access struct {
	Path string `json:"path"`
	UID  int    `json:"uid"`
	// Before is what the user's entry was, nil if there was none.
	Before *acl.Perm `json:"before,omitempty"`
	// Boot is the start of the host since which the device is that one.
	Boot string `json:"boot"`
}

// Kind implements ledger.Resource.
func (a *access) Kind() string { return "access" }

// String implements ledger.Resource.
func (a *access) String() string { return fmt.Sprintf("access of user %d to %s", a.UID, a.Path) }

// Release implements ledger.Resource. An entry that somebody has changed since is his.
func (a *access) Release(context.Context) error {
	if a.Boot != proc.BootID() {
		return nil // udev has made the device anew
	}
	list, err := acl.Get(a.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if perm, named := list.Named(uint32(a.UID)); !named || perm != granted {
		return nil
	}
	if a.Before != nil {
		return acl.Set(a.Path, list.Grant(uint32(a.UID), *a.Before))
	}
	return acl.Set(a.Path, list.Revoke(uint32(a.UID)))
}

// lacks returns what has to be recorded to let a user open a device; nil if he may, as
// far as the file says. Groups are left out: who was made a member has to log in again.
func lacks(path string, u User) (*access, acl.List, error) {
	list, err := acl.Get(path)
	if err != nil {
		return nil, nil, err
	}
	a := &access{Path: path, UID: u.UID, Boot: proc.BootID()}
	perm, named := list.Of(uint32(u.UID))
	if !named {
		perm = list.Everybody()
	}
	if perm&granted == granted {
		return nil, list, nil
	}
	if named {
		before, _ := list.Named(uint32(u.UID))
		a.Before = &before
	}
	return a, list, nil
}

// giveAccess lets the pool's user open the devices. One that is recorded and has lost
// its entry, since udev has made it anew, gets it again.
func (w *work) giveAccess() error {
	for _, path := range w.site.Devices {
		a, list, err := lacks(path, w.pool.User)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			w.site.Logger.Warn("a device that VMs need is not there", slog.String("device", path))
			continue
		case err == nil && a == nil:
			continue
		case err == nil:
			grant := func() error { return acl.Set(path, list.Grant(uint32(a.UID), granted)) }
			if w.hasAccess(path) {
				err = grant()
			} else {
				err = w.ledger.Make(a, grant)
			}
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return &errcode.Error{
				Code: errcode.HostUnsupported, Op: "give access", Subject: path, Err: err,
				Hint: "mount /dev with access control lists, or let the user open it by a group (usermod -aG kvm " + w.pool.User.Name + ")",
			}
		}
		if err != nil {
			return failed(errcode.DirectoryFailed, "give access", path, err)
		}
	}
	return nil
}

func (w *work) hasAccess(path string) bool {
	return w.has(func(r ledger.Resource) bool {
		a, ok := r.(*access)
		return ok && a.Path == path
	})
}
