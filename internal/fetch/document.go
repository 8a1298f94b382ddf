package fetch

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/smartvm/smartvm/internal/pause"
)

// Bytes returns a document of at most limit bytes. Its errors are those of File.
func (f *Fetcher) Bytes(ctx context.Context, url string, limit int64) ([]byte, error) {
	u, err := parseURL(url)
	if err != nil {
		return nil, invalid(opDownload, "a document", err)
	}
	var data []byte
	err = f.repeat(ctx, u, func() (err error) {
		data, err = f.document(ctx, u, limit)
		return err
	})
	if err != nil {
		return nil, failed(ctx, opDownload, shown(u), err)
	}
	return data, nil
}

// Location returns the URL to which url redirects finally, without reading a
// body. The page there has to exist. User info is taken out, and so is what may be
// a secret in the query. A file URL leads to itself. Its errors are those of File.
func (f *Fetcher) Location(ctx context.Context, url string) (string, error) {
	u, err := parseURL(url)
	if err != nil {
		return "", invalid(opLocate, "a page", err)
	}
	if u.Scheme == "file" {
		return shown(u), nil
	}
	last := u
	err = f.repeat(ctx, u, func() (err error) {
		last, err = f.locate(ctx, http.MethodHead, u)
		return err
	})
	if err != nil {
		return "", failed(ctx, opLocate, shown(u), err)
	}
	return shown(last), nil
}

// repeat tries as often as the options say.
func (f *Fetcher) repeat(ctx context.Context, u *url.URL, try func() error) error {
	tries := retries{options: &f.options}
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait, again := tries.next(err, 0, 0)
		if !again {
			return err
		}
		f.warn(ctx, shown(u), err, wait)
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

func (f *Fetcher) document(ctx context.Context, u *url.URL, limit int64) ([]byte, error) {
	if u.Scheme == "file" {
		in, _, err := openLocal(u.Path)
		if err != nil {
			return nil, permanent{err}
		}
		defer func() { _ = in.Close() }()
		return readLimited(in, limit)
	}
	ctx, dog := watch(ctx, f.options.StallTimeout)
	defer dog.stop()
	answer, last, err := f.request(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, dog.explain(err)
	}
	dog.heard()
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, refuse(answer, last)
	}
	if err := plain(answer); err != nil {
		return nil, err
	}
	if answer.ContentLength > limit {
		return nil, &excess{limit}
	}
	return readLimited(dog.reader(answer.Body), limit)
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	var data bytes.Buffer
	n, err := data.ReadFrom(io.LimitReader(r, limit+1))
	if n > limit {
		return nil, &excess{limit}
	}
	return data.Bytes(), err
}

// locate asks without a body; a server that knows no HEAD is asked with GET, and
// hung up on.
func (f *Fetcher) locate(ctx context.Context, method string, u *url.URL) (*url.URL, error) {
	ctx, dog := watch(ctx, f.options.StallTimeout)
	defer dog.stop()
	answer, last, err := f.request(ctx, method, u, nil)
	if err != nil {
		return nil, dog.explain(err)
	}
	_ = answer.Body.Close() // nothing in it is wanted
	unknown := answer.StatusCode == http.StatusMethodNotAllowed || answer.StatusCode == http.StatusNotImplemented
	switch {
	case method == http.MethodHead && unknown:
		return f.locate(ctx, http.MethodGet, u)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return nil, refuse(answer, last)
	}
	return last, nil
}
