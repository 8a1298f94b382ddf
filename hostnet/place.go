package hostnet

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

// Names below the runtime directory. A VM's id has no dot, so none is one.
const (
	networksName = ".networks"
	holdersName  = ".holders" // ledgers of the processes that hold on to a network
	ownerName    = ".owner"
	lockName     = ".lock"

	configName = "config.json"
	egressName = "egress.json" // the policy, if there is one: it may be large
	cursorName = "cursor"      // the address that was given out last
	leasesName = "leases"      // a file for each address in use
	namesName  = "names"       // the same files, by MAC address and by name of the TAP
	usersName  = "users"
)

// place is where the state of a network is.
type place struct {
	runtime string // the runtime directory
	bridge  string
}

func placeOf(runtime, bridge string) place { return place{runtime, bridge} }

func (p place) networks() string { return filepath.Join(p.runtime, networksName) }
func (p place) holders() string  { return filepath.Join(p.networks(), holdersName) }
func (p place) dir() string      { return filepath.Join(p.networks(), p.bridge) }
func (p place) leases() string   { return filepath.Join(p.dir(), leasesName) }
func (p place) users() string    { return filepath.Join(p.dir(), usersName) }
func (p place) config() string   { return filepath.Join(p.dir(), configName) }
func (p place) egress() string   { return filepath.Join(p.dir(), egressName) }
func (p place) cursor() string   { return filepath.Join(p.dir(), cursorName) }

func (p place) lease(addr netip.Addr) string { return filepath.Join(p.leases(), addr.String()) }

// macEntry and tapEntry can't be the same: a TAP's name has no colon.
func (p place) macEntry(a netplan.HardwareAddr) string {
	return filepath.Join(p.dir(), namesName, a.String())
}

func (p place) tapEntry(name string) string { return filepath.Join(p.dir(), namesName, name) }

// make makes the directory of all networks. The runtime directory is private, and
// has been looked at by whoever opened it.
func (p place) make() error {
	return makeDirs(p.networks(), p.holders())
}

// fill makes what a network's directory has beside its ledger.
func (p place) fill() error {
	return makeDirs(p.leases(), filepath.Join(p.dir(), namesName), p.users())
}

func makeDirs(paths ...string) error {
	for _, dir := range paths {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return failed(errcode.DirectoryFailed, "make directory", dir, err)
		}
	}
	return nil
}
