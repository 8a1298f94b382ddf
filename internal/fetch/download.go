package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pause"
)

// download is one file on its way.
type download struct {
	fetcher *Fetcher
	source  *source
	part    *part
	task    Task
	wrong   bool // the content was whole and wrong once already
}

// run brings the part to its final name, or leaves of it what can be gone on with.
func (d *download) run(ctx context.Context) error {
	var err error
	if d.source.url.Scheme == "file" {
		err = d.copyLocal(ctx)
	} else {
		err = d.fetch(ctx)
	}
	if err == nil {
		err = d.part.commit()
	}
	if err != nil {
		return errors.Join(err, d.part.abandon(err))
	}
	return nil
}

// fetch tries until the content is whole and verified.
func (d *download) fetch(ctx context.Context) error {
	if err := d.part.resume(ctx); err != nil {
		return err
	}
	tries := retries{options: &d.fetcher.options, best: d.part.size}
	for {
		err := d.try(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		done, total := d.part.size, d.total()
		if err, again := d.judge(err); !again {
			return err
		}
		wait, again := tries.next(err, done, total)
		if !again {
			return err
		}
		d.fetcher.warn(ctx, shown(d.source.url), err, wait)
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

// judge prepares the part for the next try. Content that is whole and wrong is
// fetched once more: a mirror may have changed in the middle, or an earlier call's
// part may have been damaged.
func (d *download) judge(err error) (cause error, again bool) {
	_, mismatched := errors.AsType[*mismatch](err)
	if mismatched && d.wrong {
		return err, false
	}
	d.wrong = d.wrong || mismatched
	if mismatched || errors.Is(err, errRange) || d.part.record.Validator == "" {
		if undo := d.part.restart(); undo != nil {
			return errors.Join(err, undo), false
		}
	}
	return err, true
}

// try makes one request for what is missing.
func (d *download) try(ctx context.Context) error {
	asking, dog := watch(ctx, d.fetcher.options.StallTimeout)
	defer dog.stop()
	from := d.part.size
	header := http.Header{}
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		header.Set("If-Range", d.part.record.Validator)
	}
	if d.wrong {
		header.Set("Cache-Control", "no-cache") // a proxy may have given us an older file
	}
	answer, last, err := d.fetcher.request(asking, http.MethodGet, d.source.url, header)
	if err != nil {
		return dog.explain(err)
	}
	dog.heard()
	defer func() { _ = answer.Body.Close() }()
	if err := d.accept(answer, last, from > 0); err != nil {
		return err
	}
	d.show()
	if err := d.part.fill(ctx, dog.reader(answer.Body), d.show); err != nil {
		return err
	}
	return d.check()
}

// accept prepares the part for the content of an answer, or refuses it.
func (d *download) accept(answer *http.Response, last *url.URL, ranged bool) error {
	partial := answer.StatusCode == http.StatusPartialContent && ranged
	switch {
	case answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && ranged:
		return errRange
	case answer.StatusCode != http.StatusOK && !partial:
		return refuse(answer, last)
	}
	err := plain(answer)
	switch {
	case err != nil:
		return err
	case partial:
		err = d.goOn(answer)
	default: // from the start, be it that the server knows no ranges or the file has changed
		if err := d.part.begin(newRecord(answer, last)); err != nil {
			return permanent{err}
		}
	}
	if err == nil {
		err = d.admit()
	}
	if err != nil {
		return err
	}
	return enoughRoom(d.part.file, d.part.record.Total-d.part.size)
}

// goOn refuses a range that does not go on where the part ends.
func (d *download) goOn(answer *http.Response) error {
	part := d.part
	r, ok := parseContentRange(answer.Header.Get("Content-Range"))
	switch {
	case !ok || r.first != part.size,
		answer.ContentLength >= 0 && answer.ContentLength != r.last-r.first+1,
		r.total > 0 && part.record.Total > 0 && r.total != part.record.Total,
		!part.record.continuedBy(answer.Header):
		return errRange
	case part.record.Total == 0:
		part.record.Total = r.total
	}
	return nil
}

// admit refuses content that is too much, as far as the server has said how much it is.
func (d *download) admit() error {
	switch total := d.part.record.Total; {
	case total > d.source.limit:
		return &excess{d.source.limit}
	case d.source.size > 0 && total > 0 && total != d.source.size:
		return wrongSize(d.source.size, total)
	}
	return nil
}

// check looks at what is there when the server has no more.
func (d *download) check() error {
	switch total := d.part.record.Total; {
	case total > 0 && d.part.size < total:
		return errCut
	case total > 0 && d.part.size > total:
		return errRange
	}
	return d.part.verify()
}

func (d *download) total() int64 { return max(d.part.record.Total, d.source.size) }

func (d *download) show() { d.task.Set(d.part.size, d.total()) }

// enoughRoom refuses what would fill the disk, before it does.
func enoughRoom(f *os.File, need int64) error {
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fsys); err != nil {
		return permanent{&os.PathError{Op: "statfs", Path: f.Name(), Err: err}}
	}
	free := int64(fsys.Bavail) * fsys.Frsize
	if fsys.Blocks > 0 && free < need { // a tmpfs without a limit has no blocks
		return permanent{&shortage{need, free}}
	}
	return nil
}

// warn tells about a try that failed and is repeated.
func (f *Fetcher) warn(ctx context.Context, url string, err error, wait time.Duration) {
	f.logger.LogAttrs(ctx, slog.LevelWarn, "download interrupted, trying again",
		slog.String("url", url), slog.Any("err", err), slog.Duration("wait", wait))
}
