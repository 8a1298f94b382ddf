package baseimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// treeBucket is a directory with a file for each key: a mirror for a site without
// a network.
type treeBucket struct{ base *url.URL }

// list reads one directory. Links are followed as long as they stay in the tree.
func (b *treeBucket) list(ctx context.Context, prefix string) (*listing, error) {
	if ctx.Err() != nil {
		return nil, &errcode.Error{Code: errcode.Cancelled, Op: "list base images", Subject: b.base.Path, Err: context.Cause(ctx)}
	}
	root, err := os.OpenRoot(b.base.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := new(listing)
	names, err := entries(root, strings.TrimSuffix(prefix, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil // as a prefix that no key has
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		key := path.Join(prefix, name)
		info, err := root.Stat(key)
		if err != nil {
			continue // a link out of the tree, or nothing any longer
		}
		switch {
		case info.IsDir():
			err = out.add(prefix, object{Key: key + "/"})
		case info.Mode().IsRegular():
			err = out.add(prefix, object{
				Key: key, Size: info.Size(), LastModified: info.ModTime(),
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// entries returns the names in a directory.
func entries(root *os.Root, name string) ([]string, error) {
	dir, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxKeys + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err == nil && len(names) > maxKeys {
		err = fmt.Errorf("%s has more than %d files", name, maxKeys)
	}
	return names, err
}
