package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/unpack"
)

// sumsName is the member of a release's archive with the hashes of the others.
const sumsName = "SHA256SUMS"

// unpackRelease takes the two programs out of the archive in bin, compares them
// with the hashes in it, and returns these as a text of the same form. The archive
// has one directory, release-vX.Y.Z-ARCH, which lists more files than it holds.
func unpackRelease(ctx context.Context, bin, dir *os.Root, r Release) (record []byte, err error) {
	archive, _, err := plainfile.OpenIn(bin, r.archiveName())
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	wanted := map[string]string{}
	for _, name := range append(r.binaries(), sumsName) {
		wanted["release-"+r.Version.String()+"-"+r.Arch+"/"+name] = name
	}
	limits := unpack.Limits{MemberSize: 512 << 20}
	files, err := unpack.TarGz(ctx, archive, dir, limits, func(member string) string { return wanted[path.Clean(member)] })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.archiveName(), err)
	}
	got := map[string]string{}
	for _, f := range files {
		got[f.Name] = f.SHA256
	}
	for member, name := range wanted {
		if got[name] == "" {
			return nil, fmt.Errorf("%s has no file %s", r.archiveName(), member)
		}
	}
	if record, err = compare(dir, r, got); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", sumsName, r.archiveName(), err)
	}
	return record, nil
}

// compare holds what was unpacked against the list that came with it.
func compare(dir *os.Root, r Release, got map[string]string) ([]byte, error) {
	text, err := readPlain(dir, sumsName)
	if err != nil {
		return nil, err
	}
	sums, err := parseSums(text)
	if err != nil {
		return nil, err
	}
	var record strings.Builder
	for _, name := range r.binaries() {
		switch want := sums[name]; want {
		case got[name]:
			fmt.Fprintf(&record, "%s  %s\n", want, name)
		case "":
			return nil, errors.New("it does not list " + name)
		default:
			return nil, fmt.Errorf("%s has the SHA256 %s, listed is %s", name, got[name], want)
		}
	}
	return []byte(record.String()), nil
}

// prove makes sure that the programs in dir are what they are called. Those for
// another machine can't be run, so only their kind is looked at.
func prove(ctx context.Context, dir string, r Release) error {
	jailer := filepath.Join(dir, jailerName(r.Version, r.Arch))
	binary := filepath.Join(dir, firecrackerName(r.Version, r.Arch))
	for _, path := range []string{jailer, binary} {
		if err := machine(path, r.Arch); err != nil {
			return err
		}
	}
	if r.Arch != Arch() {
		return nil
	}
	b, err := Inspect(ctx, binary)
	if err != nil {
		return err
	}
	v, err := askVersion(ctx, jailer, "Jailer")
	if err != nil {
		return err
	}
	for path, got := range map[string]string{binary: b.Version.String(), jailer: v.String()} {
		if got != r.Version.String() {
			return unusable(path, fmt.Errorf("it is %s, and %s was asked for", got, r.Version), "the release site or its mirror is wrong")
		}
	}
	return nil
}
