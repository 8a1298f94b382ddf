package fetchtest

import (
	"bytes"
	"net/http"
	"time"
)

// misbehave answers as the fault says.
func (s *Site) misbehave(w http.ResponseWriter, r *http.Request, fault Fault) {
	if fault.RetryAfter != "" {
		w.Header().Set("Retry-After", fault.RetryAfter)
	}
	switch {
	case fault.StallHeader:
		s.stall(r)
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
	case fault.Redirect != "":
		w.Header().Set("Location", fault.Redirect)
		w.WriteHeader(http.StatusFound)
	case fault.Endless:
		for zeros := make([]byte, 64<<10); ; {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	default:
		s.distort(w, r, fault)
	}
}

// distort answers with the content of the path, and something wrong about it.
func (s *Site) distort(w http.ResponseWriter, r *http.Request, fault Fault) {
	if fault.IgnoreRange {
		r.Header.Del("Range")
	}
	if fault.IgnoreIfRange {
		r.Header.Del("If-Range")
	}
	bad := &badWriter{ResponseWriter: w, fault: fault, stall: func() { s.stall(r) }}
	if object, ok := s.object(r.URL.Path); ok {
		fault.change(object).serve(bad, r)
	} else {
		s.answer(bad, r)
	}
	bad.end()
}

// change returns what the path has instead of the object.
func (f Fault) change(o object) object {
	if f.Replace != nil {
		o = newObject(f.Replace, o.modified.Add(time.Hour))
	}
	if f.NoValidator || f.WeakETag {
		o = o.unmarked(f.WeakETag)
	}
	if f.NoETag {
		o.etag = ""
	}
	o.data = o.data[:max(0, int64(len(o.data))-f.Short)]
	if f.Corrupt {
		o.data = bytes.Clone(o.data)
		o.data[len(o.data)/2] ^= 1
	}
	return o
}

// stall returns when the client has given up, or the test has.
func (s *Site) stall(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
}

// badWriter spoils the header of an answer and cuts, stalls or chops its content.
type badWriter struct {
	http.ResponseWriter
	fault  Fault
	stall  func()
	opened bool
	sent   int64
}

// WriteHeader spoils the header.
func (w *badWriter) WriteHeader(status int) {
	w.opened = true
	header := w.Header()
	if w.fault.NoLength {
		header.Del("Content-Length")
	}
	if w.fault.ContentRange != "" && status == http.StatusPartialContent {
		header.Set("Content-Range", w.fault.ContentRange)
	}
	if w.fault.Encoding != "" {
		header.Set("Content-Encoding", w.fault.Encoding)
	}
	w.ResponseWriter.WriteHeader(status)
	if w.fault.NoLength {
		w.flush() // or the server counts a short content by itself
	}
}

// Write sends as much as the fault lets through.
func (w *badWriter) Write(data []byte) (int, error) {
	if !w.opened {
		w.WriteHeader(http.StatusOK)
	}
	written := 0
	for len(data) > 0 {
		piece := data
		if w.fault.Trickle > 0 {
			piece = piece[:min(len(piece), w.fault.Trickle)]
		}
		left := w.left()
		piece = piece[:min(int64(len(piece)), left)]
		n, err := w.ResponseWriter.Write(piece)
		written, w.sent = written+n, w.sent+int64(n)
		if err != nil {
			return written, err
		}
		data = data[n:]
		if w.fault.Trickle > 0 {
			w.flush()
		}
		if w.left() == 0 {
			w.end()
		}
	}
	return written, nil
}

// left is how many bytes may be sent before the fault strikes.
func (w *badWriter) left() int64 {
	const all = 1 << 62
	left := int64(all)
	if w.fault.Cut {
		left = min(left, w.fault.CutAfter-w.sent)
	}
	if w.fault.Stall {
		left = min(left, w.fault.StallAfter-w.sent)
	}
	return max(0, left)
}

// end strikes when its time has come, and does not return then.
func (w *badWriter) end() {
	if w.left() > 0 {
		return
	}
	w.flush()
	if w.fault.Stall {
		w.stall()
	}
	panic(http.ErrAbortHandler) // closes the connection
}

func (w *badWriter) flush() {
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a client that is gone needs nothing
}
