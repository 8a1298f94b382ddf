package baseimage

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/smartvm/smartvm/internal/pin"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// Pin keeps a bundle in the cache as long as its holder exists, whatever becomes
// of the process that made it.
type Pin struct {
	BundleID string `json:"bundleId"`
	Holder   string `json:"holder"` // the absolute path of a directory
	Path     string `json:"path"`   // the file that says so: see [PinPath]
}

// PinPath returns the path of the file that pins a bundle for a holder. It can be
// recorded before the pin is made. Removing the file releases the pin; so does
// removing the holder.
func PinPath(cacheDir, bundleID, holder string) string {
	return filepath.Join(cacheDir, bundleID, usesName, pin.Name(holder))
}

// Release gives the pin up. It may be called again.
func (p Pin) Release() error {
	if err := os.Remove(p.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrap(context.Background(), opPin, p.BundleID, err)
	}
	return nil
}

const maxHolder = 4096 // PATH_MAX

// Pin keeps the bundle in the cache while the directory holder exists, such as that
// of a VM. The same holder may pin a bundle again. The error is INVALID_CONFIG when
// holder is no absolute, clean path, and BASE_IMAGE_RESOLVE_FAILED when there is no
// such bundle.
func (s *Store) Pin(ctx context.Context, bundleID, holder string) (Pin, error) {
	if !filepath.IsAbs(holder) || filepath.Clean(holder) != holder || len(holder) > maxHolder {
		return Pin{}, invalid(opPin, "holder", "it must be an absolute, clean path, not "+holder)
	}
	made := Pin{BundleID: bundleID, Holder: holder, Path: PinPath(s.opts.CacheDir, bundleID, holder)}
	err := s.watch(ctx, opPin, bundleID, func(cache *os.Root) error {
		if err := writePin(cache, bundleID, holder); err != nil {
			return err
		}
		return touch(cache, bundleID)
	})
	return made, err
}

// writePin never makes a pin worse that is there: a kill may come at any moment.
func writePin(cache *os.Root, id, holder string) error {
	uses := path.Join(id, usesName)
	if err := cache.Mkdir(uses, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	name := path.Join(uses, pin.Name(holder))
	if have, err := readPin(cache, name); err == nil && have == holder {
		return nil
	}
	if err := cache.RemoveAll(name); err != nil {
		return err
	}
	return writeNew(cache, name, []byte(holder), false) // no VM outlives a power cut
}

func readPin(cache *os.Root, name string) (string, error) {
	f, _, err := openPlain(cache, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHolder+1))
	return string(data), err
}

// livePins returns the holders of a bundle that still exist.
func livePins(cache *os.Root, id string) ([]string, error) {
	uses, err := openBundle(cache, path.Join(id, usesName))
	if _, broken := errors.AsType[*damage](err); broken || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer uses.Close()
	names, err := plainfile.NamesIn(uses)
	if err != nil {
		return nil, err
	}
	var live []string
	for _, name := range names {
		holder, err := readPin(uses, name)
		if _, broken := errors.AsType[*damage](err); broken {
			continue
		}
		if err != nil {
			return nil, err
		}
		if pin.Holds(name, holder) {
			live = append(live, holder)
		}
	}
	return live, nil
}
