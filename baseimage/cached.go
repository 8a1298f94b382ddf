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
	d, damaged := errors.AsType[*damage](err)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, absent(opEnsure, id)
	case damaged:
		e := broken(opEnsure, id)
		e.Err, e.Hint = d, "name the preset or the manifest that it came from, which replaces it"
		return nil, e
	case err != nil:
		return nil, err
	case rec.Manifest.Arch != s.opts.Arch:
		return nil, &errcode.Error{
			Code: errcode.BaseImageResolveFailed, Op: opEnsure, Subject: id, Err: fmt.Errorf("it is for %s, not %s", rec.Manifest.Arch, s.opts.Arch),
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
