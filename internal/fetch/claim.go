package fetch

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/proc"
)

// lockPace is how often a waiting caller tries again: there is no lock that can
// be awaited together with a context.
const lockPace = 20 * time.Millisecond

// claim returns the part file, locked. Or, when another caller had it and has
// finished the same source meanwhile, it returns that one's result.
//
// Who holds the lock on the file that has the name of the part is the only one to
// write, rename or remove it and its record. Such a file belongs to one source
// from its first record to its end. So a caller that has waited for the lock and
// finds the file under its final name knows from the record what it is.
func (f *Fetcher) claim(ctx context.Context, dir *os.Root, name string, src *source) (*part, *Result, error) {
	for {
		p := newPart(dir, name, src)
		if err := p.open(); err != nil {
			return nil, nil, err
		}
		mine, result, err := f.await(ctx, p)
		if mine && err == nil {
			return p, nil, nil
		}
		err = errors.Join(err, filelock.Close(p.file))
		if result != nil || err != nil {
			return nil, result, err
		}
	}
}

// await waits for the lock on an open part. It reports whether the part is this
// caller's now, or how it has ended otherwise: with a result that can be shared,
// or with neither, and then another part takes its place.
func (f *Fetcher) await(ctx context.Context, p *part) (mine bool, shared *Result, err error) {
	seen, err := f.lock(ctx, p)
	if err != nil {
		return false, nil, err
	}
	switch held, err := p.called(p.partName()); {
	case err != nil:
		return false, nil, err
	case !held:
		shared, err := p.share(ctx, seen)
		return false, shared, err
	}
	fault.Point("fetch: part locked")
	if p.record = readRecord(p.dir, p.recordName()); p.record.Inode != p.inode {
		p.record = record{}
	}
	if p.record.Source != "" && p.record.Source != p.source.id() {
		return false, nil, p.discard()
	}
	return true, nil, nil
}

// open opens the file that has the part's name, or makes it. What is no regular
// file is nobody's part, and makes room.
func (p *part) open() error {
	for {
		flags := os.O_RDWR | unix.O_NONBLOCK
		switch info, err := p.dir.Lstat(p.partName()); {
		case errors.Is(err, fs.ErrNotExist):
			flags |= os.O_CREATE | os.O_EXCL
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			if err := remove(p.dir, p.partName()); err != nil {
				return err
			}
			continue
		}
		file, err := p.dir.OpenFile(p.partName(), flags, 0o600)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			continue // another caller has come, or finished, in between
		}
		if err != nil {
			return err
		}
		id, err := proc.Identify(file)
		if err != nil {
			return errors.Join(err, file.Close())
		}
		p.file, p.inode = file, id.Ino
		return nil
	}
}

// lock waits for the lock. It returns the record that it has seen last of the
// one who had it.
func (f *Fetcher) lock(ctx context.Context, p *part) (seen record, err error) {
	ticker := time.NewTicker(lockPace)
	defer ticker.Stop()
	for told := false; ; told = true {
		err := filelock.Try(p.file, filelock.Range{}, filelock.Exclusive)
		if !errors.Is(err, filelock.ErrLocked) {
			return seen, err
		}
		if r := readRecord(p.dir, p.recordName()); r.Inode == p.inode {
			seen = r
		}
		if !told {
			f.logger.LogAttrs(ctx, slog.LevelInfo, "waiting for another download of the same name", slog.String("name", p.name))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return seen, context.Cause(ctx)
		}
	}
}

// called reports whether the open file has that name now.
func (p *part) called(name string) (bool, error) {
	open, err := p.file.Stat()
	if err != nil {
		return false, err
	}
	named, err := p.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// share returns the result of the caller that had the part before, nil if it has
// failed or had another source. seen is the record of it, if there was time.
func (p *part) share(ctx context.Context, seen record) (*Result, error) {
	finished, err := p.called(p.name)
	if !finished || err != nil {
		return nil, err
	}
	same := seen.Source == p.source.id()
	if !same && p.source.sha256 == "" {
		return nil, nil //nolint:nilnil // there is nothing to share, which is no failure
	}
	// Others wait for the lock, and may look at the file at the same time.
	if err := filelock.Release(p.file, filelock.Range{}); err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil {
		return nil, err
	}
	if err := p.load(ctx, info.Size(), func() {}); err != nil {
		return nil, err
	}
	if p.record = seen; !same {
		p.record = record{URL: shown(p.source.url)}
	}
	if p.verify() != nil {
		return nil, nil //nolint:nilnil,nilerr // another content is none to share, which is no failure
	}
	result := p.result()
	return &result, nil
}
