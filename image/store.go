package image

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/stage"
)

// DefaultReleaseURL is where Firecracker publishes its releases.
const DefaultReleaseURL = "https://github.com/firecracker-microvm/firecracker/releases"

// Progress is told how long downloads go on. Its methods may be called from
// several goroutines.
type Progress = fetch.Progress

// Task is one download that a [Progress] shows.
type Task = fetch.Task

// Options are the options of [NewStore]. All but DataDir may be left out.
type Options struct {
	// DataDir is the directory below which everything is kept. It is required.
	DataDir string
	// Arch is the architecture of the Firecrackers, x86_64 or aarch64. Default: [Arch].
	Arch string
	// ReleaseURL is the page of the releases: an http or https mirror of the layout of
	// the default, [DefaultReleaseURL], or a file URL of a tree of that layout
	// (download/vX.Y.Z/firecracker-vX.Y.Z-ARCH.tgz and .tgz.sha256.txt). User info in it
	// is sent and never shown.
	ReleaseURL string
	// Offline refuses everything that would need the network.
	Offline bool
	// Progress is told about downloads; nil tells nobody.
	Progress Progress
	// Logger gets warnings; nil discards them.
	Logger *slog.Logger
	// Transport makes the requests. The default is the standard library's with bounded
	// time-outs, which takes proxies from the environment.
	Transport http.RoundTripper
}

// Store keeps Firecracker releases, kernels and root file systems below a data
// directory. Several stores, in several processes, may share one. It is safe for
// concurrent use.
type Store struct {
	dataDir  string // absolute
	arch     string
	releases string // URL, without a slash at the end
	fetcher  *fetch.Fetcher
	logger   *slog.Logger
	digests  digest.Memory
	space    stage.Space
}

const opOptions = "open image store"

// NewStore returns a store. It touches neither the disk nor the network. The
// error is INVALID_CONFIG.
func NewStore(o Options) (*Store, error) {
	if o.DataDir == "" {
		return nil, invalid(opOptions, "DataDir", errors.New("a data directory is required"))
	}
	dataDir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, invalid(opOptions, "DataDir", err)
	}
	if o.Arch == "" {
		o.Arch = Arch()
	}
	if !slices.Contains(arches, o.Arch) {
		return nil, invalid(opOptions, "Arch", fmt.Errorf("%q is none of %s", o.Arch, strings.Join(arches, ", ")))
	}
	if o.ReleaseURL == "" {
		o.ReleaseURL = DefaultReleaseURL
	}
	releases := strings.TrimRight(o.ReleaseURL, "/")
	if err := checkBase(releases); err != nil {
		return nil, invalid(opOptions, "ReleaseURL", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{
		dataDir: dataDir, arch: o.Arch, releases: releases, logger: o.Logger,
		fetcher: fetch.New(fetch.Options{Transport: o.Transport, Progress: o.Progress, Logger: o.Logger, Offline: o.Offline}),
	}, nil
}

// checkBase is about a URL to which paths are appended. Its text, which may hold
// a password, is in no error.
func checkBase(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("the URL can't be read")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return errors.New("a base URL has no query and no fragment")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && strings.HasPrefix(u.Path, "/"):
		return nil
	}
	return errors.New("the URL must be http://host/..., https://host/... or file:///absolute/path")
}

func invalid(op, subject string, cause error) error {
	return &errcode.Error{Code: errcode.InvalidConfig, Op: op, Subject: subject, Err: cause}
}

// checkName is about the name of a file that the caller chooses. It must not lead
// elsewhere, nor look like one of our temporary ones, which are hidden.
func checkName(op, name string) error {
	var err error
	switch {
	case name == "":
		err = errors.New("a file name is required")
	case len(name) > 255:
		err = errors.New("a file name has at most 255 bytes")
	case name[0] == '.':
		err = errors.New("a file name must not start with a dot")
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f }):
		err = errors.New("a file name has no separators or control characters")
	default:
		return nil
	}
	return invalid(op, fmt.Sprintf("%q", name), err)
}
