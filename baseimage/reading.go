package baseimage

import (
	"bytes"
	"sync"
)

// readings remembers what documents were read as: one that still has the same text
// need not be taken apart again, which takes most of the time of an Ensure that
// finds all as it was. The zero value is ready to use, from several goroutines.
type readings[T any] struct {
	mu    sync.Mutex
	known map[string]reading[T] // by what the document is
}

type reading[T any] struct {
	text  []byte
	value T
}

// mostReadings bounds the memory; a cache has a handful of bundles.
const mostReadings = 64

// of returns what text was read as, or reads it. The caller gets a copy of its own.
func (r *readings[T]) of(document string, text []byte, read func() (*T, error)) (*T, error) {
	r.mu.Lock()
	known, ok := r.known[document]
	r.mu.Unlock()
	if ok && bytes.Equal(known.text, text) {
		return &known.value, nil
	}
	value, err := read()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= mostReadings {
		r.known = make(map[string]reading[T])
	}
	r.known[document] = reading[T]{text, *value}
	return value, nil
}
