package fetch

import (
	"net/url"
	"slices"
	"strings"
)

// Redact returns a location as it may be logged, shown and kept: a URL without
// user info and fragment, and with nothing in the query that could be a signature
// or a token. What is no URL is a path, and stays as it is. Of a URL that can't be
// read nothing is told.
func Redact(location string) string {
	if !strings.Contains(location, "://") {
		return location
	}
	u, err := url.Parse(location)
	if err != nil {
		return "a URL that can't be read"
	}
	return shown(u)
}

// harmless are the query keys whose values help to understand a failure: those
// of a listing of a bucket.
var harmless = map[string]bool{"list-type": true, "prefix": true, "delimiter": true, "max-keys": true}

// shown is Redact for a URL that has been read.
func shown(u *url.URL) string {
	clean := *u
	clean.User, clean.ForceQuery, clean.Fragment, clean.RawFragment = nil, false, "", ""
	clean.RawQuery = strings.Join(slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(pair string) bool {
		key, _, hasValue := strings.Cut(pair, "=")
		return !hasValue || !harmless[key]
	}), "&")
	return clean.String()
}
