package fetch_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

const size = 1000

func TestConnectionCutAtEveryTenthIsResumed(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := newScene(t)
		data, src := s.put(size)
		if !known {
			src = unknown(src)
		}
		s.site.Misbehave("/file", fetchtest.Fault{Cut: true, CutAfter: size / 10})
		s.mustFile(src, data)
		want := []string{""}
		for at := size / 10; at < size; at += size / 10 {
			want = append(want, fmt.Sprintf("bytes=%d-", at))
		}
		if diff := cmp.Diff(want, s.ranges()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestHTTP2StreamThatIsCutIsResumed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.site = fetchtest.NewTLS(t)
	s.options.Transport = s.site.Transport()
	data, src := s.put(10 << 20)
	// What a reset stream still delivers differs from time to time.
	s.site.Misbehave("/file", fetchtest.Fault{Cut: true, CutAfter: 9 << 20, Times: 1})
	s.mustFile(src, data)
	if n := s.site.Requests("/file"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// bounded is a server that sends less of a range than was asked for, as it may.
type bounded struct{ transport http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if from, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, err := strconv.Atoi(strings.TrimSuffix(from, "-"))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, first+99))
	}
	return b.transport.RoundTrip(r)
}

func TestShorterRangeIsGoneOnFrom(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.leavePart(src, fetchtest.Fault{CutAfter: 750})
	s.options.Transport = bounded{s.options.Transport}
	s.mustFile(src, data)
	if diff := cmp.Diff([]string{"", "bytes=750-849", "bytes=850-949", "bytes=950-1049"}, s.ranges()); diff != "" {
		t.Error(diff)
	}
}

// leavePart makes a first call that fails after so many bytes, since the server
// is gone then, and leaves them.
func (s *scene) leavePart(src fetch.Source, fault fetchtest.Fault) {
	s.Helper()
	fault.Cut = true
	s.site.Misbehave("/file", fault)
	s.failAfterOne(src)
	s.wantNames(".name.part .name.part.json")
	if s.partSize() != fault.CutAfter {
		s.Fatalf("the part has %d bytes, want %d", s.partSize(), fault.CutAfter)
	}
	s.site.Misbehave("/file", fetchtest.Fault{})
}

// failAfterOne downloads from a server that answers one request only.
func (s *scene) failAfterOne(src fetch.Source) {
	s.Helper()
	options := s.options
	options.Transport = &oneRequest{transport: options.Transport}
	_, err := fetch.New(options).File(s.Context(), src, s.dir, "name")
	wantCode(s.T, err, errcode.DownloadFailed)
}

// oneRequest is a server that is gone after its first answer.
type oneRequest struct {
	transport http.RoundTripper
	gone      bool
}

func (o *oneRequest) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.gone {
		return nil, syscall.ECONNREFUSED
	}
	o.gone = true
	return o.transport.RoundTrip(r)
}

func TestNextCallGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	for at := int64(size / 10); at < size; at += size / 10 {
		for _, known := range []bool{true, false} {
			for _, fault := range []fetchtest.Fault{{}, {NoETag: true}, {NoLength: true}} {
				s := newScene(t)
				data, src := s.put(size)
				if !known {
					src = unknown(src)
				}
				fault.CutAfter = at
				s.leavePart(src, fault)
				again := fault
				again.CutAfter = 0
				s.site.Misbehave("/file", again)
				first := s.told.sets
				result := s.mustFile(src, data)
				if diff := cmp.Diff([]string{"", fmt.Sprintf("bytes=%d-", at)}, s.ranges()); diff != "" {
					t.Errorf("%+v: %s", fault, diff)
				}
				if result.LastModified == "" || (result.ETag == "") != fault.NoETag {
					t.Errorf("%+v: result is %+v", fault, result)
				}
				if begun := s.told.sets[len(first)]; begun[0] != at {
					t.Errorf("%+v: progress begins at %v", fault, begun)
				}
			}
		}
	}
}

func TestPartStartsAfreshWhenItMayNotFit(t *testing.T) {
	t.Parallel()
	other := randomBytes(2 * size)[size:]
	tests := map[string]struct {
		fault  fetchtest.Fault // of both requests
		change func(*scene)
		want   []string // ranges
	}{
		"the file has changed":                        {fetchtest.Fault{}, func(s *scene) { s.site.Put("/file", other) }, []string{"", "bytes=600-"}},
		"it has changed and only has a time":          {fetchtest.Fault{NoETag: true}, func(s *scene) { s.site.Put("/file", other) }, []string{"", "bytes=600-"}},
		"the server ignores ranges":                   {fetchtest.Fault{IgnoreRange: true}, nil, []string{"", "bytes=600-"}},
		"the server ignores If-Range":                 {fetchtest.Fault{IgnoreIfRange: true}, func(s *scene) { s.site.Put("/file", other) }, []string{"", "bytes=600-", ""}},
		"it ignores If-Range and has no ETag":         {fetchtest.Fault{IgnoreIfRange: true, NoETag: true}, func(s *scene) { s.site.Put("/file", other) }, []string{"", "bytes=600-", ""}},
		"it ignores If-Range and is shorter":          {fetchtest.Fault{IgnoreIfRange: true}, func(s *scene) { s.site.Put("/file", other[:100]) }, []string{"", "bytes=600-", ""}}, // 416
		"the range begins too late":                   {fetchtest.Fault{ContentRange: "bytes 601-999/1000"}, nil, []string{"", "bytes=600-", ""}},
		"the range begins too early":                  {fetchtest.Fault{ContentRange: "bytes 0-999/1000"}, nil, []string{"", "bytes=600-", ""}},
		"the range is another one of the same length": {fetchtest.Fault{ContentRange: "bytes 500-899/1000"}, nil, []string{"", "bytes=600-", ""}},
		"the range is of another size":                {fetchtest.Fault{ContentRange: "bytes 600-999/1001"}, nil, []string{"", "bytes=600-", ""}},
		"the range has more bytes than it says":       {fetchtest.Fault{ContentRange: "bytes 600-998/1000"}, nil, []string{"", "bytes=600-", ""}},
		"the same, and they are not counted":          {fetchtest.Fault{ContentRange: "bytes 600-*/1000", NoLength: true}, nil, []string{"", "bytes=600-", ""}},
		"the range can't be read":                     {fetchtest.Fault{ContentRange: "600-999"}, nil, []string{"", "bytes=600-", ""}},
		"the record is gone":                          {fetchtest.Fault{}, func(s *scene) { s.removeRecord() }, []string{"", ""}},
		"the record is torn":                          {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"url"`, "") }, []string{"", ""}},
		"the record is of another part":               {fetchtest.Fault{}, func(s *scene) { s.copyPart() }, []string{"", ""}},
		"the part is longer than the file":            {fetchtest.Fault{}, func(s *scene) { s.growPart(500) }, []string{"", ""}},
		"the part is of an earlier boot":              {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"boot":"`, `"boot":"earlier`) }, []string{"", ""}},
		"the part is of another source":               {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"source":"`, `"source":"other`) }, []string{"", ""}},
		"the validator would be no header":            {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"validator":"\"`, `"validator":"\"\r\n`) }, []string{"", ""}},
		"there is no validator":                       {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"validator"`, `"other"`) }, []string{"", ""}},
		"the total in the record is no size":          {fetchtest.Fault{}, func(s *scene) { s.editRecord(`"total":`, `"total":-`) }, []string{"", ""}},
		"there is something behind the record":        {fetchtest.Fault{}, func(s *scene) { s.editRecord(`}`, `}{}`) }, []string{"", ""}},
		"whole part: only its last byte is fetched":   {fetchtest.Fault{}, func(s *scene) { s.growPart(400) }, []string{"", "bytes=999-"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			data, src := s.put(size)
			tt.fault.CutAfter = 600
			s.leavePart(unknown(src), tt.fault)
			tt.fault.CutAfter = 0
			s.site.Misbehave("/file", tt.fault)
			if tt.change != nil {
				tt.change(s)
			}
			result, err := s.file(unknown(src))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.dir.ReadFile("name")
			whole := bytes.Equal(got, data) || bytes.Equal(got, other) || bytes.Equal(got, other[:100])
			if err != nil || result.SHA256 != hashOf(got) || !whole {
				t.Errorf("the file is a mixture: %v", err)
			}
			s.wantNames("name")
			if diff := cmp.Diff(tt.want, s.ranges()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (s *scene) removeRecord() {
	if err := s.dir.Remove(".name.part.json"); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) editRecord(from, to string) {
	s.Helper()
	text, err := s.dir.ReadFile(".name.part.json")
	if err != nil || !bytes.Contains(text, []byte(from)) {
		s.Fatalf("no %s in %s, %v", from, text, err)
	}
	text = bytes.Replace(text, []byte(from), []byte(to), 1)
	if to == "" {
		text = text[:len(text)-1]
	}
	if err := s.dir.WriteFile(".name.part.json", text, 0o600); err != nil {
		s.Fatal(err)
	}
}

// copyPart gives the part another inode.
func (s *scene) copyPart() {
	data, err := s.dir.ReadFile(".name.part")
	err = errors.Join(err, s.dir.WriteFile("copy", data, 0o600), s.dir.Rename("copy", ".name.part"))
	if err != nil {
		s.Fatal(err)
	}
}

// growPart adds the next n bytes of the file, as far as it has them.
func (s *scene) growPart(n int) {
	f, err := s.dir.OpenFile(".name.part", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		s.Fatal(err)
	}
	_, err = f.Write(randomBytes(600 + n)[600:])
	if err := errors.Join(err, f.Close()); err != nil {
		s.Fatal(err)
	}
}

func TestWithoutAStrongValidatorNothingIsResumed(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fetchtest.Fault{"weak ETag": {WeakETag: true}, "none": {NoValidator: true}} {
		s := newScene(t)
		data, src := s.put(size)
		fault.Cut, fault.CutAfter, fault.Times = true, 600, 1
		s.site.Misbehave("/file", fault)
		s.failAfterOne(src)
		s.wantNames("") // nobody can go on with it
		s.site.Misbehave("/file", fault)
		s.mustFile(src, data)
		if diff := cmp.Diff([]string{"", "", ""}, s.ranges()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHashMakesAPartOfAnEarlierBootUsable(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.leavePart(src, fetchtest.Fault{CutAfter: 600})
	s.editRecord(`"boot":"`, `"boot":"earlier`)
	s.mustFile(src, data)
	if diff := cmp.Diff([]string{"", "bytes=600-"}, s.ranges()); diff != "" {
		t.Error(diff)
	}
}

func TestHashMakesAPartOfAnotherURLUsable(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.leavePart(src, fetchtest.Fault{CutAfter: 600})
	src.URL += "?token=new"
	s.mustFile(src, data)
	if diff := cmp.Diff([]string{"", "bytes=600-"}, s.ranges()); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedPartIsFoundOutByItsHash(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.leavePart(src, fetchtest.Fault{CutAfter: 600})
	part := filepath.Join(s.dir.Name(), ".name.part")
	torn, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	clear(torn[512:]) // what a crash of the host leaves of blocks that were not written
	if err := os.WriteFile(part, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustFile(src, data)
	if diff := cmp.Diff([]string{"", "bytes=600-", ""}, s.ranges()); diff != "" {
		t.Error(diff)
	}
}
