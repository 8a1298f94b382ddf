package baseimage

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fetch"
)

// Request says which bundle is wanted. The zero value means the preset latest.
type Request struct {
	// ID is the bundle of that id in the cache, which is verified, and repaired from
	// where it came. It leaves no room for Preset, Manifest and FirecrackerVersion.
	ID string
	// Preset is where the bundle comes from. Default: hosted if Manifest is set,
	// else latest.
	Preset Preset
	// Manifest is the URL or path of the manifest, for the preset hosted. Default:
	// that of [Options].
	Manifest string
	// FirecrackerVersion is what the preset latest shall fit, instead of the newest
	// release. The other presets know theirs: they only accept the same one.
	FirecrackerVersion firecracker.Version
	// ForceDownload asks the sources anew and fetches all files again, even if the
	// cache has them. It replaces a bundle whose files are published with other
	// content under the same names.
	ForceDownload bool
	// Verify hashes all files even if this store has done so before.
	Verify bool
}

func (r Request) withDefaults(opts Options) (Request, error) {
	if r.ID != "" {
		if r.Preset != "" || r.Manifest != "" || !r.FirecrackerVersion.IsZero() {
			return r, invalid(opEnsure, "id", "it can't be combined with a preset, a manifest or a Firecracker version")
		}
		return r, nil
	}
	if r.Preset == "" {
		r.Preset = Latest
		if r.Manifest != "" {
			r.Preset = Hosted
		}
	}
	if r.Preset == Hosted && r.Manifest == "" {
		r.Manifest = opts.Manifest
	}
	if r.Manifest != "" && !strings.Contains(r.Manifest, "://") {
		path, err := filepath.Abs(r.Manifest)
		if err != nil {
			return r, invalid(opEnsure, "manifest", err.Error())
		}
		r.Manifest = path
	}
	v := r.FirecrackerVersion
	switch {
	case !slices.Contains([]Preset{Latest, LTS, Hosted}, r.Preset):
		return r, invalid(opEnsure, "preset", "it must be latest, lts or hosted, not "+string(r.Preset))
	case r.Preset == Hosted && r.Manifest == "":
		return r, invalid(opEnsure, "manifest", "the preset hosted needs the URL or path of a manifest")
	case r.Preset != Hosted && r.Manifest != "":
		return r, invalid(opEnsure, "manifest", "it is for the preset hosted only, not "+string(r.Preset))
	case r.Preset == LTS && v != ltsVersion && !v.IsZero():
		return r, invalid(opEnsure, "firecrackerVersion", "the preset lts is for "+ltsVersion.String()+", not "+v.String())
	}
	if r.Preset == LTS {
		r.FirecrackerVersion = ltsVersion
	}
	return r, nil
}

// question is what decides about the answer of a source.
type question struct {
	preset   Preset
	manifest string
	version  firecracker.Version
}

func (r Request) question() question { return question{r.Preset, r.Manifest, r.FirecrackerVersion} }

// wants reports whether a bundle of the cache may stand in for what r asks for. A
// kernel that fits a release fits the later ones of its train too.
func (r Request) wants(rec *record) bool {
	v, newest := r.FirecrackerVersion, rec.Manifest.FirecrackerVersion
	switch {
	case r.Preset == Hosted:
		return rec.Preset == Hosted && rec.Source.Location == fetch.Redact(r.Manifest)
	case v.IsZero():
		return rec.Preset == r.Preset
	default:
		train := v.Major == newest.Major && v.Minor == newest.Minor
		return rec.Preset != Hosted && rec.FitsFrom.Compare(v) <= 0 && (v.Compare(newest) <= 0 || train)
	}
}

const (
	// freshFor is how long an answer of a server counts, so that not each VM of a
	// long-lived process asks the network.
	freshFor = 10 * time.Minute
	// standInFor is how long a stand-in from the cache counts, before a server that
	// could not be reached is asked again.
	standInFor = time.Minute
)

// memory has the answers of the sources. The zero value is ready to use.
type memory struct {
	mu      sync.Mutex
	answers map[question]answer
}

type answer struct {
	want  *wanted
	until time.Time
}

func (m *memory) recall(q question, now time.Time) *wanted {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.answers[q]; now.Before(a.until) {
		return a.want
	}
	return nil
}

func (m *memory) remember(q question, w *wanted, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = make(map[question]answer)
	}
	m.answers[q] = answer{w, until}
}
