package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/proc"
)

const (
	partSuffix   = ".part"
	recordSuffix = ".part.json"
)

// part is the file into which a download goes until it is whole. The caller holds
// its lock.
type part struct {
	dir    *os.Root
	name   string // the final one
	source *source
	limit  int64 // most bytes that may be written

	file   *os.File
	inode  uint64
	record record
	size   int64     // bytes of the content, all of which are in hash
	hash   hash.Hash // of those
	pump   pump
}

func (p *part) partName() string   { return "." + p.name + partSuffix }
func (p *part) recordName() string { return "." + p.name + recordSuffix }

// resume takes over what an earlier call has left, if that can be gone on with.
// Of a part that is whole the last byte is fetched again: the answer tells
// whether the file has changed since.
func (p *part) resume(ctx context.Context) error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if p.record.Total > 0 && size == p.record.Total {
		size--
	}
	if size == 0 || p.record.Total > 0 && size > p.record.Total || !p.record.trusted(p.source) {
		return p.restart()
	}
	if err := p.file.Truncate(size); err != nil {
		return err
	}
	return p.load(ctx, size, func() {})
}

// load hashes the first size bytes of the file.
func (p *part) load(ctx context.Context, size int64, each func()) error {
	p.hash.Reset()
	p.size = 0
	err := p.pump.run(ctx, io.NewSectionReader(p.file, 0, size), p.hash, func(data []byte) error {
		p.size += int64(len(data))
		each()
		return nil
	})
	if err == nil && p.size != size {
		err = fmt.Errorf("it has %d bytes, want %d", p.size, size)
	}
	return err
}

// restart drops the content. The next answer describes what comes then.
func (p *part) restart() error {
	p.record = record{}
	p.hash.Reset()
	p.size = 0
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	return remove(p.dir, p.recordName())
}

// begin starts afresh with what r describes.
func (p *part) begin(r record) error {
	if err := p.restart(); err != nil {
		return err
	}
	r.Source, r.Inode, r.Boot = p.source.id(), p.inode, proc.BootID()
	p.record = r
	err := r.write(p.dir, p.recordName())
	fault.Point("fetch: record written")
	return err
}

// fill appends what r has.
func (p *part) fill(ctx context.Context, r io.Reader, each func()) error {
	var flushed int64
	return p.pump.run(ctx, r, p.hash, func(data []byte) error {
		if p.size+int64(len(data)) > p.limit {
			return p.tooMuch()
		}
		n, err := p.file.WriteAt(data, p.size)
		p.size += int64(n)
		if err != nil {
			return permanent{err}
		}
		if p.size-flushed >= flushStep {
			startFlush(p.file, flushed, p.size-flushed)
			flushed = p.size
		}
		fault.Point("fetch: content written")
		each()
		return nil
	})
}

// tooMuch says which bound was passed.
func (p *part) tooMuch() error {
	if p.source.size > 0 && p.limit == p.source.size {
		return &mismatch{"size", fmt.Sprintf("%d bytes", p.source.size), "more"}
	}
	return &excess{p.limit}
}

// verify compares the whole content with what the source promises.
func (p *part) verify() error {
	if p.source.size > 0 && p.size != p.source.size {
		return wrongSize(p.source.size, p.size)
	}
	if sum := p.sum(); p.source.sha256 != "" && sum != p.source.sha256 {
		return &mismatch{"sha256", p.source.sha256, sum}
	}
	return nil
}

func wrongSize(want, got int64) error {
	return &mismatch{"size", fmt.Sprintf("%d bytes", want), fmt.Sprintf("%d bytes", got)}
}

func (p *part) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// commit gives the content its final name, once it is on the disk.
func (p *part) commit() error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	fault.Point("fetch: content synced")
	if err := p.dir.Rename(p.partName(), p.name); err != nil {
		return err
	}
	fault.Point("fetch: part renamed")
	// After the rename, for without a record the content would be fetched again.
	err := remove(p.dir, p.recordName())
	fault.Point("fetch: record removed")
	return errors.Join(err, plainfile.SyncIn(p.dir, "."))
}

// discard removes the part. Its lock is held until it is closed.
func (p *part) discard() error {
	return errors.Join(remove(p.dir, p.recordName()), remove(p.dir, p.partName()))
}

// abandon ends a download that failed. What the next call can go on with stays,
// unless it is wrong or in the way of everybody who needs room.
func (p *part) abandon(cause error) error {
	_, wrong := errors.AsType[*mismatch](cause)
	_, large := errors.AsType[*excess](cause)
	if p.size == 0 || p.record.Validator == "" || wrong || large || isFull(cause) {
		return p.discard()
	}
	return nil
}

func (p *part) result() Result {
	return Result{SHA256: p.sum(), Size: p.size, URL: p.record.URL, ETag: p.record.ETag, LastModified: p.record.LastModified}
}

func newPart(dir *os.Root, name string, src *source) *part {
	limit := src.limit
	if src.size > 0 {
		limit = min(limit, src.size)
	}
	return &part{dir: dir, name: name, source: src, limit: limit, hash: sha256.New()}
}
