package pack

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"time"
)

// limits keep a small archive from filling the memory or the disk.
type limits struct {
	entries int   // what is known of each is kept in memory, about 200 bytes
	bytes   int64 // content of all files together
}

var defaultLimits = limits{entries: 2 << 20, bytes: 256 << 30}

// tree takes the entries of a source one by one, sees that they make a tree, and
// hands them on to the stream. Its methods belong to one goroutine.
type tree struct {
	out    *stream
	limits limits
	// fit makes an entry fit the format, or says why it can't be.
	fit     func(*entry) error
	allRoot bool
	own     inode // of the image that is being made
	latest  int64 // modification times after it are set back to it

	nodes   map[string]node
	implied map[string]int64 // directories that were only seen as parents, and their times
	root    entry
	inodes  int   // entries without hard links, with the root
	bytes   int64 // content of all files
	newest  int64 // modification time of all entries
}

// node is what is remembered of an entry.
type node struct {
	kind     byte
	mode     uint16
	uid, gid uint32
}

func newTree(out *stream, o Options, fit func(*entry) error) *tree {
	t := &tree{
		out: out, limits: cmp.Or(o.limits, defaultLimits), fit: fit, allRoot: o.AllRoot, own: o.own, latest: math.MaxInt64,
		nodes: make(map[string]node), implied: make(map[string]int64),
	}
	if !o.Latest.IsZero() {
		t.latest = o.Latest.Unix()
	}
	return t
}

// add takes the next entry; content has the bytes of a regular file.
func (t *tree) add(e entry, content io.Reader) error {
	if err := t.take(&e, content); err != nil {
		return &entryError{name: e.name, err: err}
	}
	return nil
}

func (t *tree) take(e *entry, content io.Reader) error {
	if err := e.check(); err != nil {
		return err
	}
	if t.allRoot {
		e.uid, e.gid = 0, 0
	}
	e.mtime = min(e.mtime, t.latest)
	if err := t.fit(e); err != nil {
		return err
	}
	repeated, err := t.place(e)
	if err != nil || repeated {
		return err
	}
	t.newest = max(t.newest, e.mtime)
	if t.bytes += e.size; t.bytes > t.limits.bytes {
		return fmt.Errorf("the files have more than %d bytes", t.limits.bytes)
	}
	if e.name == "" {
		t.root = *e
	}
	return t.out.write(e, content)
}

// place finds the entry's place in the tree. repeated is true for a directory
// that is there already and looks the same, which some programs that write tars
// do without a thought.
func (t *tree) place(e *entry) (repeated bool, err error) {
	now := node{kind: e.kind, mode: e.mode, uid: e.uid, gid: e.gid}
	_, implied := t.implied[e.name]
	if before, exists := t.nodes[e.name]; exists && !implied {
		if before == now && e.kind == tar.TypeDir {
			return true, nil
		}
		return false, errors.New("there is an entry of that name already")
	}
	if implied && e.kind != tar.TypeDir {
		return false, errors.New("there are entries below it, so it has to be a directory")
	}
	if err := t.checkParents(e); err != nil {
		return false, err
	}
	if e.kind == tar.TypeLink {
		target, exists := t.nodes[e.link]
		if !exists || target.kind == tar.TypeDir {
			return false, fmt.Errorf("it is a hard link to %q, which is no file before it in the source", e.link)
		}
		now = target
	} else {
		t.inodes++
	}
	delete(t.implied, e.name)
	t.nodes[e.name] = now
	if len(t.nodes) > t.limits.entries {
		return false, fmt.Errorf("there are more than %d entries", t.limits.entries)
	}
	return false, nil
}

// checkParents refuses a path that leads through anything but directories: one
// that leads through a symbolic link could lead anywhere.
func (t *tree) checkParents(e *entry) error {
	for dir := parent(e.name); dir != ""; dir = parent(dir) {
		above, exists := t.nodes[dir]
		if exists && above.kind == tar.TypeDir {
			return nil
		}
		if exists {
			return fmt.Errorf("its parent %q is not a directory", dir)
		}
		t.nodes[dir] = node{kind: tar.TypeDir}
		t.implied[dir] = e.mtime
	}
	return nil
}

func parent(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// finish adds the directories that the source did not describe. They get what
// tar gives them as root: mode 0755, owned by root.
func (t *tree) finish() error {
	if _, exists := t.nodes[""]; !exists {
		t.implied[""] = t.newest
	}
	for _, name := range slices.Sorted(maps.Keys(t.implied)) {
		if err := t.add(entry{name: name, kind: tar.TypeDir, mode: 0o755, mtime: t.implied[name]}, nil); err != nil {
			return err
		}
	}
	return nil
}

// time returns when the tree was changed last.
func (t *tree) time() time.Time { return time.Unix(max(t.newest, 1), 0) }
