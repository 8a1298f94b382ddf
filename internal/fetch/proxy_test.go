package fetch_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/fetch"
)

// The environment is read once per process, so each case has one of its own. The
// host is one that nobody but the proxy knows.
const behindProxy = "http://example.invalid/file"

func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, _ := s.put(size)
	proxy := strings.Replace(s.site.URL(""), "http://", "http://user:s3cret@", 1)
	cmd, log := s.child(source(behindProxy, data), "HTTP_PROXY="+proxy)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	s.wantContent(data)
	if header := s.site.Headers("/file")[0]; header.Get("Proxy-Authorization") == "" {
		t.Errorf("the proxy was asked with %v", header)
	}
}

func TestProxyThatCannotBeUsedIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for name, proxy := range map[string]string{
		"unreadable": "http://user:s3cret@[::1", "not there": "http://user:s3cret@127.0.0.1:1",
	} {
		s := newScene(t)
		cmd, log := s.child(fetch.Source{URL: behindProxy}, "HTTP_PROXY="+proxy)
		err := cmd.Wait()
		if text := log.String(); err == nil || strings.Contains(text, "s3cret") || !strings.Contains(text, "proxy") {
			t.Errorf("%s: %v: %s", name, err, text)
		}
	}
}
