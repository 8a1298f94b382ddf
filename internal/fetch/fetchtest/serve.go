package fetchtest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"
)

func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	s.mu.Lock()
	s.headers[path] = append(s.headers[path], r.Header.Clone())
	fault := s.faultLocked(path)
	s.mu.Unlock()
	if fault == nil {
		s.answer(w, r)
		return
	}
	s.misbehave(w, r, *fault)
}

// faultLocked returns how this request to path goes wrong, nil if it does not.
func (s *Site) faultLocked(path string) *Fault {
	fault, ok := s.faults[path]
	n := s.hits[path] - fault.Skip
	s.hits[path]++
	if !ok || n < 0 || fault.Times > 0 && n >= fault.Times {
		return nil
	}
	return &fault
}

// answer is what a good site does.
func (s *Site) answer(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch {
	case path+"/" == bucketRoot || path == bucketRoot:
		s.list(w, r)
		return
	case path == "/releases/latest" && s.newest() != "":
		http.Redirect(w, r, s.URL("/releases/tag/"+s.newest()), http.StatusFound)
		return
	case strings.HasPrefix(path, "/releases/tag/") && s.knows(strings.TrimPrefix(path, "/releases/tag/")):
		_, _ = io.WriteString(w, "<html>a release</html>")
		return
	case strings.HasPrefix(path, "/releases/download/"):
		stored := storageRoot + strings.TrimPrefix(path, "/releases/download/")
		if _, ok := s.object(stored); ok {
			http.Redirect(w, r, s.URL(stored+"?"+Signature), http.StatusFound) //nolint:gosec // to itself, for tests
			return
		}
	}
	if object, ok := s.object(path); ok {
		object.serve(w, r)
		return
	}
	http.NotFound(w, r)
}

func (s *Site) object(path string) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[path]
	return o, ok
}

func (s *Site) newest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// knows reports whether there is a release of that version.
func (s *Site) knows(version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.objects {
		if strings.HasPrefix(path, storageRoot+version+"/") {
			return true
		}
	}
	return version == s.latest
}

// serve answers with the object, or with the range of it that was asked for.
func (o object) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "binary/octet-stream")
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data))
}

// unmarked is the object without validators, or with a weak one.
func (o object) unmarked(weak bool) object {
	o.modified = time.Time{}
	if weak {
		o.etag = "W/" + o.etag
	} else {
		o.etag = ""
	}
	return o
}
