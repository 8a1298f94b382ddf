package baseimage

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// Limits of a manifest's values.
const (
	maxName = 128      // characters
	maxURL  = 2048     // bytes
	maxPath = 4095     // bytes: PATH_MAX without the closing zero byte
	maxSize = 16 << 30 // bytes: the largest file that is downloaded

	// maxBootArgs is what Firecracker's kernel command line has room for (2048
	// bytes with a closing zero byte) beside the root device that it appends.
	maxBootArgs = 2047 - len(" root=/dev/vda ro")
)

// The syntax of a manifest's values; the JSON Schema has the same.
var (
	bundleIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	fileNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)
	sha256Pattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	bootArgsPattern = regexp.MustCompile(`^[ -~]+$`)
	textPattern     = regexp.MustCompile(`^\P{Cc}+$`)
	// urlPattern takes http, https and file URLs, and what is relative to one. It
	// takes no fragment.
	urlPattern = regexp.MustCompile(`^(https?://[!"$-.0-9;->@-~]|file:///[!"$-.0-9;->@-~]|/?[!"$-.0-9;->@-~]+([/?]|$))[!"$-~]*$`)
)

// reservedNames are what the cache has beside a bundle's own files.
var reservedNames = []string{"bundle.json", "manifest.json", "uses"}

var (
	arches      = []string{"x86_64", "aarch64"}
	rootfsTypes = []string{string(Squashfs), string(Ext4)}
)

// Validate checks all that can be known without looking at the files. The error
// is INVALID_BASE_IMAGE_MANIFEST, and its Details have every mistake with its
// field.
func (m *Manifest) Validate() error {
	f := strict.Faults{Details: m.mistakes()}
	return f.Err(errcode.InvalidBaseImageManifest, "validate base image manifest")
}

func (m *Manifest) mistakes() []errcode.Detail {
	var f manifestFaults
	switch m.SchemaVersion {
	case schemaVersion:
	case 0:
		f.Add("schemaVersion", "is required: %d is the only one there is", schemaVersion)
	default:
		f.Add("schemaVersion", "%d is not known: this smartvm reads version %d only", m.SchemaVersion, schemaVersion)
	}
	f.matches("bundleId", m.BundleID, bundleIDPattern, "a name of letters, digits, '.', '_' and '-', at most 128, the first a letter or digit")
	f.text("name", m.Name, maxName, utf8.RuneCountInString(m.Name))
	f.oneOf("arch", m.Arch, arches)
	if m.FirecrackerVersion.IsZero() {
		f.Add("firecrackerVersion", "is required, as vX.Y.Z")
	}
	f.oneOf("rootfsType", string(m.RootfsType), rootfsTypes)
	if m.RootfsType == Squashfs && !m.RootfsIsReadOnly {
		f.Add("rootfsIsReadOnly", "must be true: squashfs can't be written to")
	}
	f.bootArgs(m)
	f.artifacts(m)
	return f.Details
}

// manifestFaults gathers the mistakes of a manifest.
type manifestFaults struct{ strict.Faults }

// matches checks text that is required and has a syntax.
func (f *manifestFaults) matches(field, value string, pattern *regexp.Regexp, want string) {
	switch {
	case value == "":
		f.Add(field, "is required: %s", want)
	case !pattern.MatchString(value):
		f.Add(field, "%s is not %s", strict.Quote(value), want)
	}
}

// text checks text of a kind that people write, of which size is counted in the
// unit of limit.
func (f *manifestFaults) text(field, value string, limit, size int) {
	switch {
	case value == "":
		f.Add(field, "is required")
	case !utf8.ValidString(value):
		f.Add(field, "%s is not valid UTF-8", strict.Quote(value))
	case !textPattern.MatchString(value):
		f.Add(field, "%s has a control character", strict.Quote(value))
	case size > limit:
		f.Add(field, "%s is longer than %d", strict.Quote(value), limit)
	}
}

func (f *manifestFaults) oneOf(field, value string, allowed []string) {
	list := strings.Join(allowed, " or ")
	switch {
	case value == "":
		f.Add(field, "is required: %s", list)
	case !slices.Contains(allowed, value):
		f.Add(field, "%s is not %s%s", strict.Quote(value), list, strict.DidYouMean(value, allowed))
	}
}

func (f *manifestFaults) bootArgs(m *Manifest) {
	switch {
	case m.BootArgs == "":
		f.Add("bootArgs", "is required: %q is usual", DefaultBootArgs(m.RootfsType, m.RootfsIsReadOnly))
	case len(m.BootArgs) > maxBootArgs:
		f.Add("bootArgs", "has %d bytes, at most %d are allowed", len(m.BootArgs), maxBootArgs)
	case !bootArgsPattern.MatchString(m.BootArgs):
		f.Add("bootArgs", "%s has something other than printable ASCII on one line", strict.Quote(m.BootArgs))
	}
}

// artifacts checks the files one by one, and that they do not share a name.
func (f *manifestFaults) artifacts(m *Manifest) {
	first := make(map[string]part)
	for _, p := range m.parts() {
		a := m.artifact(p)
		f.artifact(string(p), a)
		if other, taken := first[a.FileName]; taken && a.FileName != "" {
			f.Add(string(p)+".fileName", "%s is also %s.fileName", strict.Quote(a.FileName), other)
			continue
		}
		first[a.FileName] = p
	}
}

func (f *manifestFaults) artifact(field string, a *ArtifactManifest) {
	switch {
	case a.URL != "" && a.Path != "":
		f.Add(field, "has both url and path, only one is allowed")
	case a.URL == "" && a.Path == "":
		f.Add(field, "needs a url or a path")
	}
	if a.URL != "" {
		f.url(field+".url", a.URL)
	}
	if a.Path != "" {
		f.text(field+".path", a.Path, maxPath, len(a.Path))
	}
	f.matches(field+".fileName", a.FileName, fileNamePattern,
		"a name of letters, digits, '.', '_', '+' and '-', at most 128, the first a letter or digit")
	if slices.Contains(reservedNames, a.FileName) {
		f.Add(field+".fileName", "%q is the name of a file of smartvm itself", a.FileName)
	}
	f.hash(field+".sha256", a)
	if a.SizeBytes < 0 || a.SizeBytes > maxSize {
		f.Add(field+".sizeBytes", "%d is not in 1..%d", a.SizeBytes, int64(maxSize))
	}
}

func (f *manifestFaults) url(field, value string) {
	u, err := url.Parse(value)
	switch {
	case len(value) > maxURL:
		f.Add(field, "has %d bytes, at most %d are allowed", len(value), maxURL)
	case !urlPattern.MatchString(value) || err != nil || u.Scheme != "" && u.Scheme != "file" && u.Hostname() == "":
		f.Add(field, "is not an http, https or file URL, nor relative to one") // it may have a secret in it
	}
}

func (f *manifestFaults) hash(field string, a *ArtifactManifest) {
	switch {
	case a.SHA256 == "" && a.URL != "":
		f.Add(field, "is required with a url: what a server sends is only trusted by its hash")
	case a.SHA256 == "":
	case !sha256Pattern.MatchString(a.SHA256):
		f.Add(field, "%s is not 64 lower-case hexadecimal digits", strict.Quote(a.SHA256))
	case strings.Trim(a.SHA256, "0") == "":
		f.Add(field, "is all zeros: put the file's hash in its place")
	}
}
