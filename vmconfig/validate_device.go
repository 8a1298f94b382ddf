package vmconfig

import (
	"fmt"
	"strings"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
)

// deviceIDs checks the ids of one kind of device. Ids of different kinds may be
// the same: Firecracker v1.12.1 boots a drive and an interface of one id.
type deviceIDs map[string]string // id -> field that has it

func (ids deviceIDs) check(f *faults, field, id string) {
	switch first, taken := ids[id]; {
	case id == "":
		f.Add(field, "is required")
	case strings.ContainsFunc(id, notInDeviceID):
		f.Add(field, "%s has a character other than letters, digits and '_'", strict.Quote(id))
	case len(id) > maxDeviceID:
		f.Add(field, "has %d bytes, at most %d are allowed", len(id), maxDeviceID)
	case taken:
		f.Add(field, "%s is also %s", strict.Quote(id), first)
	default:
		ids[id] = field
	}
}

// maxDeviceID keeps the request line under the 1024 bytes that Firecracker's
// HTTP server takes, with room for method and path. It has no limit of its own.
const maxDeviceID = 900

func notInDeviceID(r rune) bool { return r != '_' && !isAlphanumeric(r) }

func (f *faults) drives(drives []Drive) {
	ids := deviceIDs{}
	for i := range drives {
		d := &drives[i]
		field := fmt.Sprintf("drives[%d]", i)
		ids.check(f, field+".drive_id", d.DriveID)
		if d.Socket == "" {
			f.path(field+".path_on_host", d.PathOnHost)
		} else {
			f.vhostUser(field, d)
		}
		f.oneOf(field+".cache_type", d.CacheType, "Unsafe", "Writeback")
		f.oneOf(field+".io_engine", d.IOEngine, "Sync", "Async")
		f.rateLimiter(field+".rate_limiter", d.RateLimiter)
		if d.IsRootDevice && strings.ContainsFunc(d.PartUUID, func(r rune) bool { return r <= ' ' || r > '~' }) {
			f.Add(field+".partuuid", "%s has a character that the kernel's command line can't carry", strict.Quote(d.PartUUID))
		}
	}
}

// vhostUser: the backend has the file and all that is about it.
func (f *faults) vhostUser(field string, d *Drive) {
	f.socketPath(field+".socket", d.Socket, 0)
	for _, other := range []struct {
		name string
		set  bool
	}{
		{"path_on_host", d.PathOnHost != ""},
		{"is_read_only", d.IsReadOnly},
		{"io_engine", d.IOEngine != ""},
		{"rate_limiter", d.RateLimiter != nil},
		{"ephemeral", d.Ephemeral != nil},
	} {
		if other.set {
			f.Add(field+"."+other.name, "can't be set together with socket")
		}
	}
}

func (f *faults) pmem(devices []firecracker.Pmem) {
	ids := deviceIDs{}
	for i := range devices {
		p := &devices[i]
		field := fmt.Sprintf("pmem[%d]", i)
		ids.check(f, field+".id", p.ID)
		f.path(field+".path_on_host", p.PathOnHost)
		f.rateLimiter(field+".rate_limiter", p.RateLimiter)
	}
}

// oneRoot: drives and persistent memory compete for the root file system.
func (f *faults) oneRoot(c *Config) {
	first := ""
	root := func(field string) {
		if first == "" {
			first = field
			return
		}
		f.Add(field, "there is a root device already: %s", first)
	}
	for i := range c.Drives {
		if c.Drives[i].IsRootDevice {
			root(fmt.Sprintf("drives[%d].is_root_device", i))
		}
	}
	for i := range c.Pmem {
		if c.Pmem[i].RootDevice {
			root(fmt.Sprintf("pmem[%d].root_device", i))
		}
	}
}

// maxSocketPath is what sun_path holds without the closing zero byte.
const maxSocketPath = 107

// socketPath checks the path of a Unix socket to which suffix bytes are added.
func (f *faults) socketPath(field, path string, suffix int) {
	f.path(field, path)
	if longest := maxSocketPath - suffix; len(path) > longest {
		f.Add(field, "has %d bytes, a Unix socket's path may have %d here", len(path), longest)
	}
}
