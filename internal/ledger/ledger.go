package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

const (
	fileName   = "ledger"
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// Ledger is a directory whose resources this process owns. Its methods may be
// called from several goroutines.
type Ledger struct {
	dir  string
	mu   sync.Mutex
	file *os.File
	contents
}

// maxTries bounds the game of make and remove with somebody who sweeps.
const maxTries = 100

// Create makes the directory runtime/name with a ledger that this process owns.
// The error matches fs.ErrExist when the name is taken, by whomever.
func Create(runtime, name string) (*Ledger, error) {
	for range maxTries {
		fault.Point("create: nothing yet")
		tmp, err := os.MkdirTemp(runtime, newPrefix)
		if err != nil {
			return nil, failure("create ledger", runtime, err)
		}
		fault.Point("create: directory")
		l, err := build(tmp, filepath.Join(runtime, name))
		if err == nil {
			return l, nil
		}
		err = errors.Join(err, os.RemoveAll(tmp))
		// In the moments before the ledger was locked it was nobody's, see Sweep.
		if swept := errors.Is(err, fs.ErrNotExist) || errors.Is(err, filelock.ErrLocked); !swept {
			return nil, failure("create ledger", filepath.Join(runtime, name), err)
		}
	}
	return nil, failure("create ledger", filepath.Join(runtime, name), errors.New("somebody keeps removing it"))
}

// build makes a locked ledger in tmp, which nobody else looks at, and gives the
// directory its name.
func build(tmp, dir string) (*Ledger, error) {
	f, err := plainfile.Open(filepath.Join(tmp, fileName), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND)
	if err != nil {
		return nil, err
	}
	l := &Ledger{dir: dir, file: f, contents: contents{marks: map[string]time.Time{}}}
	err = errors.Join(filelock.Try(f, filelock.Range{}, filelock.Exclusive), l.own())
	fault.Point("create: ledger")
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
		fault.Point("create: named")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// Open takes over the ledger of runtime/name. The error matches VM_OWNED when
// its owner is alive and fs.ErrNotExist when there is none.
func Open(runtime, name string, kinds Kinds) (*Ledger, error) {
	dir := filepath.Join(runtime, name)
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, failure("open ledger", dir, err)
	}
	l := &Ledger{dir: dir, file: f}
	if err := l.takeOver(kinds); err != nil {
		return nil, errors.Join(failure("open ledger", dir, err), f.Close())
	}
	return l, nil
}

func (l *Ledger) takeOver(kinds Kinds) error {
	if err := filelock.Try(l.file, filelock.Range{}, filelock.Exclusive); err != nil {
		return err
	}
	// Between open and lock the last owner may have removed the directory and a
	// new one may have taken the name: the lock would then be on a dead file.
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(l.file.Name())
	if err != nil {
		return err
	}
	if !os.SameFile(held, named) {
		return filelock.ErrLocked
	}
	data, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	c, err := parse(data, kinds)
	if err != nil {
		return err
	}
	l.contents = *c
	if err := l.file.Truncate(c.size); err != nil { // a torn last line
		return err
	}
	return l.own()
}

func (l *Ledger) own() error {
	l.owner = self()
	now := time.Now()
	if l.created.IsZero() {
		l.created = now
	}
	return l.append(entry{Op: "own", Owner: &l.owner, Time: now})
}

// Dir is the directory.
func (l *Ledger) Dir() string { return l.dir }

// Make records r, runs effect, and records r once more if the effect completed
// it (a process learns its pid only when it exists). When the effect fails, r
// stays recorded: part of it may exist, and Release knows.
func (l *Ledger) Make(r Resource, effect func() error) error {
	intent, err := json.Marshal(r)
	if err != nil {
		return failure("record", r.String(), err)
	}
	fault.Point("make " + r.Kind() + ": nothing yet")
	n, err := l.record(r, intent)
	if err != nil {
		return failure("record", r.String(), err)
	}
	fault.Point("make " + r.Kind() + ": recorded")
	if err := effect(); err != nil {
		return err
	}
	fault.Point("make " + r.Kind() + ": made")
	result, err := json.Marshal(r)
	if err != nil || bytes.Equal(intent, result) {
		return err
	}
	l.mu.Lock()
	err = l.append(entry{Op: "made", N: n, What: result})
	l.mu.Unlock()
	if err != nil {
		return failure("record", r.String(), err)
	}
	fault.Point("make " + r.Kind() + ": known")
	return nil
}

func (l *Ledger) record(r Resource, what json.RawMessage) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.last + 1
	if err := l.append(entry{Op: "make", N: n, Kind: r.Kind(), What: what}); err != nil {
		return 0, err
	}
	l.last = n
	l.resources = append(l.resources, &held{n, r})
	return n, nil
}

// Mark records that a point of the life was reached.
func (l *Ledger) Mark(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if err := l.append(entry{Op: "mark", Name: name, Time: now}); err != nil {
		return failure("record", name, err)
	}
	l.marks[name] = now
	fault.Point("mark " + name)
	return nil
}

// Describe records what the directory is about, for whoever reads the ledger. A
// later description takes the place of an earlier one.
func (l *Ledger) Describe(value any) error {
	about, err := json.Marshal(value)
	if err != nil {
		return failure("record", l.dir, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(entry{Op: "about", What: about}); err != nil {
		return failure("record", l.dir, err)
	}
	l.about = about
	fault.Point("described")
	return nil
}

// append writes one line. A line that could not be written whole is taken back,
// so that the next one does not continue it. The caller holds mu, or is alone.
func (l *Ledger) append(e entry) error {
	line, err := e.line()
	if err != nil {
		return err
	}
	if _, err := l.file.Write(line); err != nil {
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(line))
	return nil
}

// Release gives back every recorded resource, each [User] before all others, and else
// newest first. It goes on past errors, but for those of a User, and returns them all;
// what could not be given back stays recorded, so Release can be called again.
func (l *Ledger) Release(ctx context.Context) error {
	l.mu.Lock()
	todo := slices.Clone(l.resources)
	l.mu.Unlock()
	slices.Reverse(todo)
	slices.SortStableFunc(todo, func(a, b *held) int { return b.rank() - a.rank() })
	var errs []error
	for _, h := range todo {
		if err := l.release(ctx, h); err != nil {
			errs = append(errs, fmt.Errorf("release %s: %w", h.resource, err))
			if h.rank() > 0 {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// rank is higher for what is to be released sooner.
func (h *held) rank() int {
	if _, uses := h.resource.(User); uses {
		return 1
	}
	return 0
}

// ReleaseOne gives back one recorded resource, that was made by this value. It does
// nothing if the resource is not recorded (any more).
func (l *Ledger) ReleaseOne(ctx context.Context, r Resource) error {
	l.mu.Lock()
	i := slices.IndexFunc(l.resources, func(h *held) bool { return h.resource == r })
	var found *held
	if i >= 0 {
		found = l.resources[i]
	}
	l.mu.Unlock()
	if found == nil {
		return nil
	}
	if err := l.release(ctx, found); err != nil {
		return fmt.Errorf("release %s: %w", r, err)
	}
	return nil
}

func (l *Ledger) release(ctx context.Context, h *held) error {
	kind := h.resource.Kind()
	fault.Point("release " + kind + ": still there")
	if err := h.resource.Release(ctx); err != nil {
		return err
	}
	fault.Point("release " + kind + ": gone")
	l.mu.Lock()
	defer l.mu.Unlock()
	// A full disk must not keep a resource on record that is gone: releasing it
	// again finds nothing, so the line may be missing from the file.
	l.remove(h.n)
	if err := l.append(entry{Op: "gone", N: h.n}); err != nil && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

// Destroy removes the directory with all that is in it, the ledger last, and
// gives up ownership. Everything must have been released.
func (l *Ledger) Destroy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.resources) > 0 {
		return failure("remove", l.dir, fmt.Errorf("%s is still recorded", l.resources[0].resource))
	}
	fault.Point("destroy: still named")
	runtime, name := filepath.Split(l.dir)
	gone := filepath.Join(runtime, fmt.Sprintf("%s%s-%d-%d", gonePrefix, name, os.Getpid(), time.Now().UnixNano()))
	if err := os.Rename(l.dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failure("remove", l.dir, err)
	}
	fault.Point("destroy: renamed")
	err := errors.Join(os.RemoveAll(gone), filelock.Close(l.file))
	fault.Point("destroy: removed")
	if err != nil {
		return failure("remove", l.dir, err)
	}
	return nil
}

// Close gives up ownership and leaves everything as it is.
func (l *Ledger) Close() error {
	return filelock.Close(l.file)
}

// failure gives an error of this package its code. A name that is taken or not
// there is an ordinary answer and keeps matching fs.ErrExist, fs.ErrNotExist.
func failure(op, subject string, err error) error {
	e := &errcode.Error{Code: errcode.LedgerFailed, Op: op, Subject: subject, Err: err}
	switch {
	case errors.Is(err, filelock.ErrLocked):
		e.Code = errcode.VMOwned
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Code, e.Hint = errcode.NoSpace, "free some room or choose another runtime directory (SMARTVM_RUNTIME_DIR)"
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		e.Code, e.Hint = errcode.DirectoryFailed, "choose a runtime directory that can be written (SMARTVM_RUNTIME_DIR)"
	}
	return e
}
