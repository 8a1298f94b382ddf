package baseimage

import (
	"errors"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/errcode"
)

// chooseCached takes a bundle of the cache as it is.
func (s *Store) chooseCached(cache *os.Root, id string) (*wanted, error) {
	rec, err := lookUp(cache, id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &errcode.Error{
			Code: errcode.BaseImageResolveFailed, Op: "look into the cache", Err: errors.New("there is no bundle of that id"),
			Hint: "smartvm image ls lists them; or name a preset, or a manifest by its URL or path",
		}
	}
	if d, damaged := errors.AsType[*damage](err); damaged {
		return nil, &errcode.Error{
			Code: errcode.BaseImageDamaged, Op: "look into the cache", Err: d,
			Hint: "name the preset or the manifest that it came from, which replaces it",
		}
	}
	if err != nil {
		return nil, err
	}
	if arch := rec.Manifest.Arch; arch != s.opts.Arch {
		return nil, &errcode.Error{
			Code: errcode.BaseImageResolveFailed, Op: "look into the cache", Err: fmt.Errorf("it is for %s, not %s", arch, s.opts.Arch),
		}
	}
	return rec.again(), nil
}

// lookUp reads the description of a bundle. The error matches [os.ErrNotExist], or is
// a *damage.
func lookUp(cache *os.Root, id string) (*record, error) {
	ours, err := isBundle(cache, id)
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, os.ErrNotExist
	}
	dir, err := openBundle(cache, id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return readRecord(dir, id)
}
