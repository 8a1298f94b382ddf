package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// maxRedirects is what browsers and curl are content with, and more than any
// object store needs.
const maxRedirects = 10

// defaultTransport is the standard library's, for its time-outs and its HTTP/2.
func defaultTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has put something else there
		return http.DefaultTransport
	}
	t = t.Clone()
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		proxy, err := http.ProxyFromEnvironment(r)
		if err != nil { // its text has the URL of the proxy, password included
			return nil, permanent{errors.New("the URL of the proxy in the environment can't be read")}
		}
		return proxy, nil
	}
	return t
}

// request sends GET or HEAD and follows redirects. It returns the answer, of
// whatever status, and the URL that it is of.
//
// The client of the standard library is not used: it puts URLs, secrets
// included, into its errors and its Referer, and goes from https to http.
func (f *Fetcher) request(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, *url.URL, error) {
	if f.options.Offline {
		return nil, nil, permanent{errors.New("the network is off limits with --offline")}
	}
	for range maxRedirects + 1 {
		answer, err := f.send(ctx, method, u, header)
		if err != nil {
			return nil, nil, err
		}
		next, err := redirect(u, answer)
		if err != nil || next != nil {
			_ = answer.Body.Close() // nothing in it is wanted
		}
		switch {
		case err != nil:
			return nil, nil, permanent{err}
		case next == nil:
			return answer, u, nil
		}
		u = next
	}
	return nil, nil, permanent{fmt.Errorf("it redirects more than %d times", maxRedirects)}
}

func (f *Fetcher) send(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, permanent{errors.New("no request can be made for the URL")}
	}
	for key, values := range header {
		request.Header[key] = values
	}
	request.Header.Set("User-Agent", "smartvm")
	request.Header.Set("Accept-Encoding", "identity")
	if u.User != nil {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	return f.transport.RoundTrip(request)
}

// redirect returns where an answer leads, nil when it is no redirect.
func redirect(from *url.URL, answer *http.Response) (*url.URL, error) {
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil //nolint:nilnil // there is nowhere to go
	}
	location, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || *location == (url.URL{}) {
		return nil, errors.New("it redirects to nowhere")
	}
	next := from.ResolveReference(location)
	switch {
	case next.Scheme != "http" && next.Scheme != "https" || next.Host == "":
		return nil, errors.New("it redirects to something that is neither http nor https")
	case from.Scheme == "https" && next.Scheme == "http":
		return nil, errors.New("it redirects from https to http, where anybody on the way could change it")
	}
	return next, nil
}

// plain refuses a Content-Encoding, which sizes, ranges and hashes don't fit.
func plain(answer *http.Response) error {
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return permanent{errors.New("the server has encoded the content, though it was asked not to")}
	}
	return nil
}

// refuse makes an error of an answer that is no success.
func refuse(answer *http.Response, from *url.URL) error {
	return &refusal{status: answer.StatusCode, wait: retryAfter(answer.Header.Get("Retry-After"), time.Now()), url: shown(from)}
}
