package fetch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/smartvm/smartvm/internal/filelock"
)

// Options are the options of [New]. The zero value is what a command wants that
// draws no progress.
type Options struct {
	// Transport makes the requests. The default is a clone of the standard
	// library's: HTTP/2, bounded time-outs, proxies from the environment.
	Transport http.RoundTripper
	// Attempts is how many tries in a row may make no progress before a download
	// fails. Default 5.
	Attempts int
	// StallTimeout is how long a server may send nothing before the connection is
	// given up and the download tried again. Default 30 s.
	StallTimeout time.Duration
	// Backoff is the wait before the second try; each further one doubles it, and
	// half of it is random. Default 500 ms.
	Backoff time.Duration
	// MaxBackoff bounds that wait. Default 30 s.
	MaxBackoff time.Duration
	// MaxRetryAfter is the longest wait that a server may ask for with Retry-After.
	// One that asks for more is not tried again. Default 2 min.
	MaxRetryAfter time.Duration
	// Progress is told about files; nil tells nobody.
	Progress Progress
	// Logger gets a warning for each try that failed and is repeated. Nil discards.
	Logger *slog.Logger
	// Offline refuses every http and https URL; file URLs still work.
	Offline bool
}

// Fetcher downloads. It is safe for concurrent use.
type Fetcher struct {
	options   Options
	transport http.RoundTripper
	logger    *slog.Logger
}

// New returns a Fetcher. It does nothing on the network or the disk by itself.
func New(options Options) *Fetcher {
	options.Attempts = cmp.Or(options.Attempts, 5)
	options.StallTimeout = cmp.Or(options.StallTimeout, 30*time.Second)
	options.Backoff = cmp.Or(options.Backoff, 500*time.Millisecond)
	options.MaxBackoff = cmp.Or(options.MaxBackoff, 30*time.Second)
	options.MaxRetryAfter = cmp.Or(options.MaxRetryAfter, 2*time.Minute)
	if options.Transport == nil {
		options.Transport = defaultTransport()
	}
	if options.Progress == nil {
		options.Progress = silent{}
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Fetcher{options, options.Transport, options.Logger}
}

// DefaultMaxSize bounds what is downloaded where the caller does not: 16 GiB.
const DefaultMaxSize = 16 << 30

// Source says what to download.
type Source struct {
	// URL has the scheme http, https or file; a file URL has an absolute path. User
	// info in it is sent as basic authentication, and neither it nor a query value
	// that may be a secret is ever logged or part of an error.
	URL string
	// SHA256 is what the content must hash to, 64 lower-case hexadecimal digits;
	// "" when that is not known.
	SHA256 string
	// Size is what the content must have, in bytes; 0 when that is not known.
	Size int64
	// MaxSize is the most that is taken, in bytes. Default [DefaultMaxSize].
	MaxSize int64
	// Name is what progress calls the work. Default: the last element of the URL's path.
	Name string
}

// Result says what was downloaded.
type Result struct {
	SHA256 string // of the content, 64 lower-case hexadecimal digits
	Size   int64  // bytes
	URL    string // the last one after redirects, without user info
	// ETag and LastModified are those of the server, as it wrote them. A file URL has
	// its time of modification in the same form. "" when there are none.
	ETag, LastModified string
}

// File puts what src names under name in dir, with mode 0600. Nothing is ever
// under name that is not whole and verified; what was there before is replaced in
// one step. Whether to reuse that instead is the caller's decision.
//
// Partial data stay in ".<name>.part", and what is needed to go on in
// ".<name>.part.json", for the next call, in whichever process. The part file is
// locked: a second caller waits for the first under its ctx, and then takes the
// file of the first if that had the same source. Names are at most 244 bytes long.
//
// Content is checked against what is known: the hash, the size, and the length
// that the server has told. With none of them, as from a server that speaks
// HTTP/1.0 and closes the connection at the end, a cut can't be noticed.
//
// The code of a failure is DOWNLOAD_FAILED, with StatusCode when a server
// answered; NO_SPACE when the disk is full; CANCELLED when ctx has ended; and
// INVALID_CONFIG when src or name can't be meant.
func (f *Fetcher) File(ctx context.Context, src Source, dir *os.Root, name string) (Result, error) {
	s, err := parseSource(src)
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return Result{}, invalid(opDownload, name, err)
	}
	task := f.options.Progress.Begin(s.name, s.size)
	result, err := f.file(ctx, s, dir, name, task)
	if err != nil {
		result, err = Result{}, failed(ctx, opDownload, shown(s.url), err)
	}
	task.End(err)
	return result, err
}

func (f *Fetcher) file(ctx context.Context, src *source, dir *os.Root, name string, task Task) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	if src.size > src.limit {
		return Result{}, &excess{src.limit}
	}
	p, shared, err := f.claim(ctx, dir, name, src)
	if err != nil {
		return Result{}, err
	}
	if shared != nil {
		task.Set(shared.Size, shared.Size)
		return *shared, nil
	}
	d := &download{fetcher: f, source: src, part: p, task: task}
	if err := d.run(ctx); err != nil {
		return Result{}, errors.Join(err, filelock.Close(p.file))
	}
	return p.result(), filelock.Close(p.file)
}
