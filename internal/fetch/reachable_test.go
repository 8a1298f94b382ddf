package fetch_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestUnreachableIsASourceThatHasNotAnswered(t *testing.T) {
	t.Parallel()
	data := randomBytes(size)
	tests := map[string]struct {
		fault fetchtest.Fault
		alter func(*fetch.Source)
		want  bool
	}{
		"refused connection": {alter: func(s *fetch.Source) { s.URL = "http://127.0.0.1:1/file" }, want: true},
		"cut":                {fault: fetchtest.Fault{Cut: true}, want: true},
		"408":                {fault: fetchtest.Fault{Status: 408}, want: true},
		"429":                {fault: fetchtest.Fault{Status: 429}, want: true},
		"500":                {fault: fetchtest.Fault{Status: 500}, want: true},
		"503":                {fault: fetchtest.Fault{Status: 503}, want: true},
		"missing file":       {alter: func(s *fetch.Source) { s.URL = "file:///nonexistent/file" }, want: true},
		"403":                {fault: fetchtest.Fault{Status: 403}},
		"404":                {fault: fetchtest.Fault{Status: 404}},
		"wrong hash":         {alter: func(s *fetch.Source) { s.SHA256 = strings.Repeat("0", 64) }},
		"wrong size":         {alter: func(s *fetch.Source) { s.Size++ }},
		"too large":          {alter: func(s *fetch.Source) { s.Size, s.SHA256, s.MaxSize = 0, "", size-1 }},
		"no URL":             {alter: func(s *fetch.Source) { s.URL = "ftp://h/file" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.site.Put("/file", data)
			s.site.Misbehave("/file", tt.fault)
			src := source(s.site.URL("/file"), data)
			if tt.alter != nil {
				tt.alter(&src)
			}
			_, err := s.file(src)
			if err == nil {
				t.Fatal("it was fetched")
			}
			wrapped := &errcode.Error{Code: errcode.BaseImagePrepareFailed, Op: "ensure", Err: fmt.Errorf("kernel: %w", err)}
			if fetch.Unreachable(err) != tt.want || fetch.Unreachable(wrapped) != tt.want {
				t.Errorf("want %v: %v", tt.want, err)
			}
		})
	}
}

func TestUnreachableJudgesErrorsOfOthers(t *testing.T) {
	t.Parallel()
	code := func(code errcode.Code, status int, err error) error {
		return &errcode.Error{Code: code, Op: "look up", StatusCode: status, Err: err}
	}
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("a bug"), false},
		{code(errcode.InvalidConfig, 0, errors.New("no URL")), false},
		{&fs.PathError{Op: "open", Path: filepath.Join("srv", "mirror"), Err: fs.ErrNotExist}, true},
		{code(errcode.VersionFetchFailed, 0, errors.New("no page of a release")), true},
		{code(errcode.VersionFetchFailed, 0, code(errcode.DownloadFailed, 404, nil)), false},
		{code(errcode.VersionFetchFailed, 404, code(errcode.DownloadFailed, 503, nil)), true},
		{code(errcode.DownloadFailed, 0, fmt.Errorf("another ETag: %w", fetch.ErrWrongContent)), false},
	}
	for _, tt := range tests {
		if got := fetch.Unreachable(tt.err); got != tt.want {
			t.Errorf("%v: got %v", tt.err, got)
		}
	}
}
