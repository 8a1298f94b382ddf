package fetch

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 7 ":                            7 * time.Second,
		"-1":                             0,
		"1.5":                            0,
		"99999999999999999999":           0,
		"soon":                           0,
		"Mon, 06 May 2024 07:09:09 GMT":  time.Minute,
		"Monday, 06-May-24 07:09:09 GMT": time.Minute,
		"Mon, 06 May 2024 07:08:08 GMT":  0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q asks for %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"120", "Mon, 06 May 2024 07:09:09 GMT", "-1", ""} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if wait := retryAfter(value, now); wait < 0 {
			t.Errorf("%q asks for %v", value, wait)
		}
	})
}

func TestBackoffDoublesToItsBoundAndIsHalfRandom(t *testing.T) {
	t.Parallel()
	options := &Options{Attempts: 100, Backoff: 100 * time.Millisecond, MaxBackoff: time.Second}
	r := retries{options: options}
	different := map[time.Duration]bool{}
	for _, ms := range []int{100, 200, 400, 800, 1000, 1000, 1000} {
		want := time.Duration(ms) * time.Millisecond
		wait, again := r.next(errCut, 0, 0)
		if !again || wait < want/2 || wait > want {
			t.Errorf("waits %v, %t, want up to %v", wait, again, want)
		}
		different[wait] = true
	}
	if len(different) < 3 {
		t.Errorf("nothing random: %v", different)
	}
}

func TestServerMayAskForALongerWaitWithinTheBound(t *testing.T) {
	t.Parallel()
	options := &Options{Attempts: 5, Backoff: time.Millisecond, MaxBackoff: time.Second, MaxRetryAfter: time.Minute}
	for asked, want := range map[time.Duration]bool{time.Minute: true, time.Minute + 1: false} {
		r := retries{options: options}
		wait, again := r.next(&refusal{status: 503, wait: asked}, 0, 0)
		if again != want || again && wait != asked {
			t.Errorf("asked for %v: waits %v, %t", asked, wait, again)
		}
	}
}

func TestProgressIsANoticeableShareBeyondTheBest(t *testing.T) {
	t.Parallel()
	r := retries{options: &Options{Attempts: 3, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}}
	for i, tt := range []struct {
		done int64
		want bool
	}{
		{100, true}, // a share of 6400: forgiven
		{199, true}, // less than one more
		{150, true}, // less than the best
		{200, true}, // just in time
		{200, true},
		{200, true},
		{200, false},
	} {
		if _, again := r.next(errCut, tt.done, 6400); again != tt.want {
			t.Errorf("try %d: again is %t", i, again)
		}
	}
}

func TestPermanentFailuresAreFoundBelowOthers(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		permanent{errCut}:                      true,
		errors.Join(errCut, permanent{errCut}): true,
		&url.Error{Err: permanent{errCut}}:     true,
		&excess{1}:                             true,
		&refusal{status: 404}:                  true,
		&refusal{status: 500}:                  false,
		&refusal{status: 429}:                  false,
		errCut:                                 false,
		errStalled:                             false,
		&mismatch{"sha256", "a", "b"}:          false,
	} {
		if got := isPermanent(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

func TestValidatorIsStrong(t *testing.T) {
	t.Parallel()
	const old, date = "Mon, 06 May 2024 07:08:08 GMT", "Mon, 06 May 2024 07:08:09 GMT"
	tests := map[string]struct{ etag, modified, date, want string }{
		"strong":                    {`"abc"`, old, date, `"abc"`},
		"empty but strong":          {`""`, "", "", `""`},
		"weak":                      {`W/"abc"`, "", date, ""},
		"weak, and a time":          {`W/"abc"`, old, date, old},
		"unquoted":                  {`abc`, "", date, ""},
		"half-quoted":               {`"`, "", date, ""},
		"with a quote":              {`"a"b"`, "", date, ""},
		"with a space":              {`"a b"`, "", date, ""},
		"not ASCII":                 {`"ä"`, "", date, ""},
		"huge":                      {`"` + strings.Repeat("a", 2000) + `"`, "", date, ""},
		"a time":                    {"", old, date, old},
		"a time and no date":        {"", old, "", ""},
		"a time of the same second": {"", date, date, ""},
		"a time in the future":      {"", date, old, ""},
		"no time":                   {"", "yesterday", date, ""},
		"nothing":                   {"", "", date, ""},
	}
	for name, tt := range tests {
		header := http.Header{}
		header.Set("ETag", tt.etag)
		header.Set("Last-Modified", tt.modified)
		header.Set("Date", tt.date)
		if got := validator(header); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzValidator(f *testing.F) {
	f.Add(`"abc"`, "Mon, 06 May 2024 07:08:08 GMT")
	f.Add(`W/"abc"`, "")
	f.Fuzz(func(t *testing.T, etag, modified string) {
		header := http.Header{"Etag": {etag}, "Last-Modified": {modified}, "Date": {"Mon, 06 May 2024 07:08:09 GMT"}}
		got := validator(header)
		if got != "" && got != etag && got != modified || strings.ContainsAny(got, "\r\n\x00") || strings.HasPrefix(got, "W/") {
			t.Errorf("%q, %q gives %q", etag, modified, got)
		}
	})
}

func TestContentRangeFollowsTheGrammar(t *testing.T) {
	t.Parallel()
	good := map[string]contentRange{
		"bytes 0-0/1":      {0, 0, 1},
		"bytes 5-9/10":     {5, 9, 10},
		"bytes 999-999/*":  {999, 999, 0},
		"bytes 1-2/999999": {1, 2, 999999},
	}
	for text, want := range good {
		if got, ok := parseContentRange(text); !ok || got != want {
			t.Errorf("%q: %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{
		"", "bytes", "bytes ", "bytes */10", "bytes 1/2", "bytes 1-2", "bytes 2-1/10", "bytes 0-10/10", "bytes *-1/2", "bytes -1/2",
		"bytes 1-/2", "bytes 0x1-2/3", "bytes 1-2/-3", "bytes +1-2/3", "bytes 1 - 2/3", "chars 1-2/3", "1-2/3",
		"bytes 0-9223372036854775808/9223372036854775809",
	} {
		if got, ok := parseContentRange(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseContentRange(text)
		if ok && (r.first < 0 || r.last < r.first || r.total < 0 || r.total > 0 && r.last >= r.total) {
			t.Errorf("%q: %v", text, r)
		}
	})
}

func FuzzRecord(f *testing.F) {
	whole, err := json.Marshal(record{Source: "s", Inode: 1, Boot: "b", Total: 2, Validator: `"v"`, ETag: `"v"`, URL: "http://host/"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"validator":"Mon, 06 May 2024 07:08:08 GMT","total":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parseRecord(data)
		if r.Total < 0 || strings.ContainsAny(r.Validator, "\r\n\x00") || strings.HasPrefix(r.Validator, "W/") {
			t.Errorf("%q gives %+v", data, r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if parseRecord(again) != r {
			t.Errorf("%+v becomes %+v", r, parseRecord(again))
		}
	})
}

func FuzzShown(f *testing.F) {
	f.Add("http", "/path", "prefix=a&X-Amz-Signature=b&c#d")
	f.Fuzz(func(t *testing.T, user, path, query string) {
		const secret = "s3cretive"
		u := &url.URL{
			Scheme: "http", Host: "host", Path: "/" + path, RawQuery: query + "&token=" + secret + "&" + secret,
			User: url.UserPassword(user+secret, secret), Fragment: secret,
		}
		if text := shown(u); strings.Contains(text, secret) && !strings.Contains(path+query, secret) {
			t.Errorf("%q", text)
		}
	})
}
