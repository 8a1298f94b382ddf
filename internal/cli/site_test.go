package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
	"github.com/smartvm/smartvm/internal/hello"
)

// worlds are one for each script, by its name.
type worlds map[string]*world

func newWorlds(t *testing.T, scripts, dir, binary string) worlds {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts in %s: %v", scripts, err)
	}
	version, archives := releases(t, binary)
	all := worlds{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		w := &world{site: fetchtest.New(t), tree: filepath.Join(dir, "tree-"+name), version: version}
		w.publish(t, archives)
		all[name] = w
	}
	return all
}

// releases packs the releases v1.7.0 and v1.12.1, and that of the binary for the
// scripts that boot, and returns the version of this one, else v1.12.1.
func releases(t *testing.T, binary string) (firecracker.Version, map[string][]byte) {
	t.Helper()
	archives := map[string][]byte{}
	for _, version := range []string{"v1.7.0", "v1.12.1"} {
		archives[version] = imagetest.NewRelease(version, image.Arch()).Archive(t)
	}
	if binary == "" {
		return firecracker.Version{Major: 1, Minor: 12, Patch: 1}, archives
	}
	found, err := image.Inspect(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	r := imagetest.NewRelease(found.Version.String(), image.Arch())
	r.Files[r.Firecracker()] = program
	if jailer, err := image.FindJailer(t.Context(), "", found, ""); err == nil { // else as root nothing will boot
		if r.Files[r.Jailer()], err = os.ReadFile(jailer.Path); err != nil {
			t.Fatal(err)
		}
	}
	r.List()
	archives[r.Version] = r.Archive(t)
	return found.Version, archives
}

// of returns the world of the script that works in a directory.
func (all worlds) of(workDir string) *world {
	return all[strings.TrimPrefix(filepath.Base(workDir), "script-")]
}

// misbehave makes the site refuse requests, or hang, until it is told otherwise:
//
//	misbehave PATH STATUS|stall|well
func (all worlds) misbehave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: misbehave PATH STATUS|stall|well")
	}
	var fault fetchtest.Fault
	switch args[1] {
	case "well":
	case "stall":
		fault.Stall, fault.StallAfter = true, 10
	default:
		status, err := strconv.Atoi(args[1])
		ts.Check(err)
		fault.Status = status
	}
	all.of(ts.MkAbs(".")).site.Misbehave(args[0], fault)
}

// publish puts the files of a directory onto the site:
//
//	publish DIR PATH
func (all worlds) publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: publish DIR PATH")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), e.Name()))
		ts.Check(err)
		all.of(ts.MkAbs(".")).site.Put(args[1]+"/"+e.Name(), data)
	}
}

// world is where a script gets what it downloads: a site on loopback, and the same
// as a tree of files.
type world struct {
	site    *fetchtest.Site
	tree    string
	version firecracker.Version // of the manifests
}

// testRootfs begins as a squashfs does. The hello guest never looks at it.
var testRootfs = append([]byte("hsqs"), make([]byte, 4092)...)

// publish puts the releases, of which v1.12.1 is the newest, the images latest and
// lts, and two manifests of the hello guest onto the site, and all of it into the tree.
func (w *world) publish(t *testing.T, archives map[string][]byte) {
	t.Helper()
	arch := image.Arch()
	for version, archive := range archives {
		w.site.PutRelease(version, arch, archive)
	}
	w.site.SetLatest("v1.12.1")
	date := time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
	for train, files := range map[string][]string{
		"v1.12": {"vmlinux-6.1.128", "ubuntu-24.04.squashfs"},
		"v1.7":  {"vmlinux-5.10.210", "ubuntu-22.04.ext4"},
	} {
		for _, name := range files {
			w.site.PutObject("firecracker-ci/"+train+"/"+arch+"/"+name, []byte(train+" "+name), date)
		}
	}
	w.site.Put("/images/vmlinux", hello.Image())
	w.site.Put("/images/rootfs.squashfs", testRootfs)
	w.site.Put("/images/hello.json", w.describe(t, "hello-v1", w.version, true))
	w.site.Put("/images/other.json", w.describe(t, "hello-v2", firecracker.Version{Major: 1, Minor: 0}, true))
	w.site.WriteTree(t, w.tree)
}

// describe returns the manifest of the hello guest, with hashes if it is hosted.
func (w *world) describe(t *testing.T, id string, version firecracker.Version, hosted bool) []byte {
	t.Helper()
	file := func(name string, data []byte) baseimage.ArtifactManifest {
		if hosted {
			return baseimage.ArtifactManifest{URL: name, FileName: name, SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), SizeBytes: int64(len(data))}
		}
		return baseimage.ArtifactManifest{Path: name, FileName: name}
	}
	text, err := json.Marshal(baseimage.Manifest{
		SchemaVersion: 1, BundleID: id, Name: "The hello guest", Arch: image.Arch(), FirecrackerVersion: version,
		RootfsType: baseimage.Squashfs, RootfsIsReadOnly: true, BootArgs: "console=ttyS0 from-image",
		Kernel: file("vmlinux", hello.Image()), Rootfs: file("rootfs.squashfs", testRootfs),
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// furnish puts what a script needs of the world into its directory: local files
// with manifests, and where the rest is into its environment.
func (w *world) furnish(t *testing.T, env *testscript.Env) error {
	t.Helper()
	env.Setenv("SITE", w.site.URL(""))
	env.Setenv("TREE", "file://"+w.tree)
	env.Setenv("ARCH", image.Arch())
	env.Setenv("OTHER_ARCH", map[string]string{"x86_64": "aarch64", "aarch64": "x86_64"}[image.Arch()])
	env.Setenv("VERSION", w.version.String())
	env.Setenv(envReleaseURL, w.site.ReleaseURL())
	env.Setenv(envBucketURL, w.site.BucketURL())
	dir := filepath.Join(env.WorkDir, "local")
	for name, data := range map[string][]byte{
		"vmlinux": hello.Image(), "rootfs.squashfs": testRootfs,
		"manifest.json": w.describe(t, "local", w.version, false),
		"other.json":    w.describe(t, "other", firecracker.Version{Major: 1, Minor: 0}, false),
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
