package baseimage

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/privdir"
	"github.com/smartvm/smartvm/internal/stage"
)

// Progress is told about downloads.
type Progress = fetch.Progress

// Task is one download that a [Progress] shows.
type Task = fetch.Task

// Defaults of [Options].
const (
	DefaultRetention = 2
	// DefaultBucketURL is where Firecracker's CI puts its kernels and root file systems.
	DefaultBucketURL = "https://s3.amazonaws.com/spec.ccfc.min"
)

// Options are the options of [Open]. Only CacheDir is required.
type Options struct {
	// CacheDir is the directory of the cache. It is made when something is put into
	// it, with mode 0700, and must belong to this user alone.
	CacheDir string
	// Arch is that of the guests, x86_64 or aarch64. Default: this machine's.
	Arch string
	// Retention is how many bundles are kept, those in use included. Default 2.
	Retention int
	// Manifest is the URL or path of the hosted manifest that counts where a
	// [Request] names none.
	Manifest string
	// BucketURL is Firecracker's CI bucket, a mirror of it, or a file URL of a tree
	// with the same keys. Default [DefaultBucketURL].
	BucketURL string
	// LatestVersion says which Firecracker the preset latest is for. It may be nil if
	// each request for latest names a version.
	LatestVersion func(context.Context) (firecracker.Version, error)
	// Offline keeps away from the network: what is not in the cache can come from
	// files only.
	Offline bool
	// Progress is told about downloads; nil tells nobody.
	Progress Progress
	// Logger is told what was evicted, what was repaired and what could not be
	// reached. Nil discards.
	Logger *slog.Logger
	// Transport makes the requests. Default: proxies from the environment, bounded
	// time-outs.
	Transport http.RoundTripper
}

// Store is a cache of bundles that several processes may share. It is safe for
// concurrent use, and must be closed.
//
// A bundle that was returned by Ensure is leased until the store is closed: its
// paths stay, whoever prunes or removes meanwhile. A VM that outlives the store
// needs a [Pin].
//
// The cache is a directory of its user's own:
//
//	<bundle id>/bundle.json   what the files are and where they came from
//	<bundle id>/<file name>   the kernel, the root file system and the initrd, mode 0644
//	<bundle id>/uses/<hash>   pins: each names the directory of its holder
//	<bundle id>/.used         the time of the last use
//	.locks/<bundle id>        see lockWork, lockLook and lockUse
//	.lock                     held while bundles are evicted
//	.new-<bundle id>          a bundle, or a repair, that is being fetched
//	.gone-<random>            a bundle that is being removed
//
// A bundle appears, is replaced and disappears by renames of its whole directory;
// its files are repaired by renames one by one, to the content that was promised.
type Store struct {
	opts      Options
	fetch     *fetch.Fetcher
	resolver  *resolver
	space     stage.Space
	digests   digest.Memory
	memory    memory
	records   readings[record]
	manifests readings[Manifest]
	turns     turns
	now       func() time.Time

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
	leases map[string]*bundleLock
}

// Open returns the store of a cache directory. It touches nothing on the disk or
// the network. The error is INVALID_CONFIG, or INVALID_BASE_IMAGE_CACHE_LIMIT for a
// negative retention.
func Open(opts Options) (*Store, error) {
	opts = opts.withDefaults()
	if opts.Retention < 0 {
		return nil, &errcode.Error{
			Code: errcode.InvalidBaseImageCacheLimit, Op: opOpen, Subject: opts.CacheDir,
			Details: []errcode.Detail{{Field: "retention", Message: "it can't be negative"}},
			Hint:    "keep at least one bundle",
		}
	}
	if opts.CacheDir == "" {
		return nil, invalid(opOpen, "cacheDir", "it is required")
	}
	dir, err := filepath.Abs(opts.CacheDir)
	if err != nil {
		return nil, invalid(opOpen, "cacheDir", err.Error())
	}
	opts.CacheDir = dir
	if opts.Arch != "x86_64" && opts.Arch != "aarch64" {
		return nil, invalid(opOpen, "arch", "it must be x86_64 or aarch64, not "+opts.Arch)
	}
	f := fetch.New(fetch.Options{Transport: opts.Transport, Progress: opts.Progress, Logger: opts.Logger, Offline: opts.Offline})
	r, err := newResolver(opts.BucketURL, f)
	if err != nil {
		return nil, err
	}
	return &Store{opts: opts, fetch: f, resolver: r, now: time.Now, leases: make(map[string]*bundleLock)}, nil
}

func (o Options) withDefaults() Options {
	if o.Arch == "" {
		o.Arch = "x86_64"
		if runtime.GOARCH == "arm64" {
			o.Arch = "aarch64"
		}
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.BucketURL == "" {
		o.BucketURL = DefaultBucketURL
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Close gives up all leases: bundles that no VM holds may be evicted from now on.
// It waits for calls under way, whose contexts can hasten that. Later calls fail
// with INVALID_STATE. Close may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		l.close()
	}
	clear(s.leases)
	return nil
}

// enter begins a call: it opens the cache anew, since that may have been removed or
// replaced meanwhile. A cache that does not exist is made with create, else the
// error matches [os.ErrNotExist].
func (s *Store) enter(create bool) (cache *privdir.Dir, leave func(), err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, &errcode.Error{Code: errcode.InvalidState, Op: opOpen, Subject: s.opts.CacheDir, Err: errors.New("the store is closed")}
	}
	s.calls.Add(1)
	s.mu.Unlock()
	open := privdir.Open
	if create {
		open = privdir.Ensure
	}
	if cache, err = open(s.opts.CacheDir); err != nil {
		s.calls.Done()
		return nil, nil, err
	}
	return cache, func() { _ = cache.Close(); s.calls.Done() }, nil
}

// date is a time that is the same after it has been written and read.
func (s *Store) date() time.Time { return s.now().UTC().Round(0) }

// lease keeps the bundle in place until the store is closed. The caller holds a
// lock that keeps it there until now.
func (s *Store) lease(cache *os.Root, id string) error {
	if s.leased(id) {
		return nil
	}
	l, err := openLock(cache, id)
	if err != nil {
		return err
	}
	if err := l.try(lockUse, false); err != nil {
		l.close()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[id] = l
	return nil
}

// leased reports whether this store has returned the bundle already. A lease on a
// lock file without a name was on a cache that has been deleted.
func (s *Store) leased(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return false
	}
	gone, err := isUnlinked(l.file)
	if err == nil && !gone {
		return true
	}
	l.close()
	delete(s.leases, id)
	return false
}
