// Command user is a process that uses a cache of base images, for tests that need
// several or kill one.
//
//	user ensure|force|remove|prune CACHE MANIFEST
//	user hammer CACHE SEED DURATION MANIFEST...
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb, cache string, args []string) error {
	if verb == "hammer" {
		return hammer(ctx, cache, args)
	}
	s, err := openStore(cache, 1, nil)
	if err != nil {
		return err
	}
	switch verb {
	case "ensure", "force":
		_, err = s.Ensure(ctx, baseimage.Request{Manifest: args[0], ForceDownload: verb == "force"})
	case "remove":
		err = s.Remove(ctx, args[0])
	case "prune":
		_, err = s.Prune(ctx)
	default:
		err = fmt.Errorf("no such verb: %s", verb)
	}
	return errors.Join(err, s.Close())
}

func openStore(cache string, retention int, log *slog.Logger) (*baseimage.Store, error) {
	return baseimage.Open(baseimage.Options{CacheDir: cache, Arch: "x86_64", Retention: retention, Logger: log})
}

// worker does at random what processes do to a cache, and checks what it was promised.
type worker struct {
	cache     string
	manifests []string
	holders   string // where the directories of its VMs are
	rand      *rand.Rand
	counts    map[string]int
}

func hammer(ctx context.Context, cache string, args []string) error {
	seed, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	period, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	holders, err := os.MkdirTemp(filepath.Dir(cache), "holders-")
	if err != nil {
		return err
	}
	w := &worker{
		cache: cache, manifests: args[2:], holders: holders,
		rand: rand.New(rand.NewPCG(seed, 0)), counts: map[string]int{},
	}
	for end := time.Now().Add(period); time.Now().Before(end); {
		if err := w.session(ctx); err != nil {
			return fmt.Errorf("seed %d, %v: %w", seed, w.counts, err)
		}
	}
	fmt.Println(w.counts)
	return os.RemoveAll(holders)
}

// session is the life of one store.
func (w *worker) session(ctx context.Context) error {
	var log bytes.Buffer
	s, err := openStore(w.cache, 1+w.rand.IntN(3), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		return err
	}
	var leased []*baseimage.Bundle
	for range 1 + w.rand.IntN(5) {
		if b, err := w.act(ctx, s); err != nil {
			return fmt.Errorf("%w\n%s", err, log.Bytes())
		} else if b != nil {
			leased = append(leased, b)
		}
		// Whatever others have done meanwhile, the promises hold.
		for _, b := range leased {
			if err := check(b); err != nil {
				return fmt.Errorf("%s, returned earlier: %w\n%s", b.ID, err, log.Bytes())
			}
		}
	}
	if bytes.Contains(log.Bytes(), []byte("fetched again")) {
		return fmt.Errorf("found damage that nobody did: %s", log.Bytes())
	}
	return s.Close()
}

func (w *worker) act(ctx context.Context, s *baseimage.Store) (*baseimage.Bundle, error) {
	manifest := w.manifests[w.rand.IntN(len(w.manifests))]
	id := filepath.Base(filepath.Dir(manifest))
	switch n := w.rand.IntN(20); {
	case n < 10:
		req := baseimage.Request{Manifest: manifest, ForceDownload: n == 0, Verify: n == 1}
		b, err := s.Ensure(ctx, req)
		w.count("ensure", err)
		if err != nil {
			return nil, except(err, errcode.BaseImageInUse) // as its manifest has changed
		}
		return b, check(b)
	case n < 12:
		_, err := s.Prune(ctx)
		w.count("prune", err)
		return nil, err
	case n < 15:
		err := s.Remove(ctx, id)
		w.count("remove", err)
		return nil, except(err, errcode.BaseImageInUse, errcode.BaseImageResolveFailed)
	case n < 17:
		err := s.Verify(ctx, id)
		w.count("verify", err)
		return nil, except(err, errcode.BaseImageResolveFailed)
	case n < 19:
		return nil, w.hold(ctx, s, id)
	default:
		all, err := s.List(ctx)
		w.count("list", err)
		for _, st := range all {
			if err == nil && st.Damaged != "" {
				err = fmt.Errorf("%s is listed as damaged: %s", st.ID, st.Damaged)
			}
		}
		return nil, err
	}
}

// hold pins a bundle as a VM does, and sees that it stays without a lease.
func (w *worker) hold(ctx context.Context, s *baseimage.Store, id string) error {
	vm, err := os.MkdirTemp(w.holders, "vm-")
	if err != nil {
		return err
	}
	pin, err := s.Pin(ctx, id, vm)
	w.count("pin", err)
	if err != nil {
		return except(err, errcode.BaseImageResolveFailed)
	}
	b, err := s.Bundle(ctx, id)
	if err != nil {
		return fmt.Errorf("a pinned bundle: %w", err)
	}
	for range 3 {
		if err := check(b); err != nil {
			return fmt.Errorf("%s, pinned: %w", id, err)
		}
	}
	if w.rand.IntN(2) == 0 {
		return os.Remove(vm) // the VM goes, and its pin is forgotten
	}
	return pin.Release()
}

func (w *worker) count(what string, err error) {
	if err != nil {
		what += " " + string(errcode.Of(err, "?"))
	}
	w.counts[what]++
}

// check reads the files, and sees that they are of one edition: each ends with its
// name. A has an initrd, B has none.
func check(b *baseimage.Bundle) error {
	var editions []byte
	files := []baseimage.Artifact{b.Kernel, b.Rootfs}
	if b.Initrd.Path != "" {
		files = append(files, b.Initrd)
	}
	for _, a := range files {
		data, err := os.ReadFile(a.Path)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.SHA256 {
			return fmt.Errorf("%s is not what was promised", a.Path)
		}
		editions = append(editions, data[len(data)-1])
	}
	if got := string(editions); got != "AAA" && got != "BB" {
		return fmt.Errorf("%s is a mixture of %q", b.ID, editions)
	}
	return nil
}

func except(err error, codes ...errcode.Code) error {
	if slices.ContainsFunc(codes, func(c errcode.Code) bool { return errors.Is(err, c) }) {
		return nil
	}
	return err
}
