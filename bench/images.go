package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/image"
)

const imagesFamily = "images"

// The files of a bundle, and what is downloaded: the root file system.
const (
	kernelMiB   = 44
	rootfsMiB   = 300
	kernelFile  = "vmlinux"
	rootfsFile  = "rootfs.squashfs"
	bundleFile  = "manifest.json"
	downloads   = "downloads"
	downloading = "download and verify 300 MiB from loopback"
	ensuring    = "verify a cached bundle in a new process"
	again       = "ensure a cached bundle again"
)

// gallery has what the ways of this family share.
type gallery struct {
	lab      *lab
	dir      string // of the bundle's files
	url      string // of the root file system
	sha256   string
	manifest string
	data     string // data directory of smartvm
	store    *baseimage.Store
}

// imageWay is one way to do a task. It returns how long that took.
type imageWay struct {
	task, name string
	run        func(*gallery, context.Context) (time.Duration, error)
}

func imageWays() []imageWay {
	return []imageWay{
		{downloading, "curl, then sha256sum", (*gallery).curl},
		{downloading, methodSelf, (*gallery).download},
		{ensuring, "hash both files at the same time", (*gallery).hashBoth},
		{ensuring, methodSelf, (*gallery).ensureFresh},
		{again, methodSelf, (*gallery).ensureAgain},
	}
}

func openGallery(ctx context.Context, l *lab) (g *gallery, err error) {
	g = &gallery{lab: l, dir: filepath.Join(l.memory, "bundle"), data: filepath.Join(l.memory, "images")}
	for _, dir := range []string{g.dir, g.data, filepath.Join(g.data, downloads)} {
		if err := os.Mkdir(dir, dirMode); err != nil {
			return nil, err
		}
	}
	if _, err := writeRandom(filepath.Join(g.dir, kernelFile), "", kernelMiB, l.random); err != nil {
		return nil, err
	}
	if g.sha256, err = writeRandom(filepath.Join(g.dir, rootfsFile), "hsqs", rootfsMiB, l.random); err != nil {
		return nil, err
	}
	if err := g.writeManifest(); err != nil {
		return nil, err
	}
	if g.store, err = g.open(); err != nil {
		return nil, err
	}
	l.cleanup = append(l.cleanup, g.store.Close)
	if err := g.ensure(ctx, g.store); err != nil {
		return nil, err
	}
	return g, g.serve(ctx)
}

// writeRandom writes a file that begins with magic and returns its SHA-256.
func writeRandom(path, magic string, size int, random *rand.Rand) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	to := io.MultiWriter(f, hash)
	block := make([]byte, mib)
	for i := range block {
		block[i] = byte(random.Uint32())
	}
	copy(block, magic)
	for range size {
		if _, err := to.Write(block); err != nil {
			return "", errors.Join(err, f.Close())
		}
		block[len(magic)]++
	}
	return hex.EncodeToString(hash.Sum(nil)), f.Close()
}

func (g *gallery) writeManifest() error {
	g.manifest = filepath.Join(g.dir, bundleFile)
	text, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "bundleId": "bench", "name": "bench", "arch": image.Arch(), "firecrackerVersion": g.lab.binary.Version,
		"rootfsType": "squashfs", "rootfsIsReadOnly": true, "bootArgs": "console=ttyS0",
		"kernel": map[string]any{"path": kernelFile, "fileName": kernelFile},
		"rootfs": map[string]any{"path": rootfsFile, "fileName": rootfsFile},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(g.manifest, text, fileMode)
}

// serve offers the bundle's files on loopback, to every way alike.
func (g *gallery) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(g.dir)), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	g.lab.cleanup = append(g.lab.cleanup, func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	g.url = "http://" + listener.Addr().String() + "/" + rootfsFile
	return nil
}

func (g *gallery) curl(ctx context.Context) (time.Duration, error) {
	path := filepath.Join(g.data, downloads, rootfsFile)
	defer func() { _ = os.Remove(path) }()
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "curl", "--silent", "--show-error", "--fail", "--output", path, g.url).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("curl: %w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, "sha256sum", path).Output()
	took := time.Since(began)
	if err == nil && !strings.HasPrefix(string(out), g.sha256) {
		err = fmt.Errorf("sha256sum says %s, want %s", out, g.sha256)
	}
	return took, err
}

func (g *gallery) download(ctx context.Context) (time.Duration, error) {
	store, err := image.NewStore(image.Options{DataDir: g.data})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	path, err := store.DownloadRootfs(ctx, image.FileSource{URL: g.url, SHA256: g.sha256}, rootfsFile)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, os.Remove(path)
}

// hashBoth is the least that a process has to do that trusts nobody's word.
func (g *gallery) hashBoth(context.Context) (time.Duration, error) {
	began := time.Now()
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, name := range []string{kernelFile, rootfsFile} {
		wg.Go(func() { errs[i] = hashFile(filepath.Join(g.dir, name)) })
	}
	wg.Wait()
	return time.Since(began), errors.Join(errs...)
}

func hashFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{f}, make([]byte, mib))
	return errors.Join(err, f.Close())
}

func (g *gallery) open() (*baseimage.Store, error) {
	return baseimage.Open(baseimage.Options{CacheDir: filepath.Join(g.data, "base-images")})
}

func (g *gallery) ensure(ctx context.Context, store *baseimage.Store) error {
	_, err := store.Ensure(ctx, baseimage.Request{Manifest: g.manifest})
	return err
}

// ensureFresh has a store that has hashed nothing yet, as a new process has.
func (g *gallery) ensureFresh(ctx context.Context) (time.Duration, error) {
	store, err := g.open()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = g.ensure(ctx, store)
	took := time.Since(began)
	return took, errors.Join(err, store.Close())
}

func (g *gallery) ensureAgain(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := g.ensure(ctx, g.store)
	return time.Since(began), err
}

// imageTurns runs every way once per round, in another order in each.
func imageTurns(ctx context.Context, l *lab, ways []imageWay, rounds int) (took [][]float64, err error) {
	g, err := openGallery(ctx, l)
	if err != nil {
		return nil, err
	}
	took = make([][]float64, len(ways))
	for range rounds {
		for _, i := range l.random.Perm(len(ways)) {
			if err := pause(ctx, l.random); err != nil {
				return nil, err
			}
			d, err := ways[i].run(g, ctx)
			if err != nil {
				return nil, fmt.Errorf("%s by %s: %w", ways[i].task, ways[i].name, err)
			}
			took[i] = append(took[i], milliseconds(d))
		}
	}
	return took, nil
}
