package pack

import (
	"context"
	"io"
)

// Small limits the options to a tree of 1000 entries and 1 MiB.
func Small(o Options) Options {
	o.limits = limits{entries: 1000, bytes: 1 << 20}
	return o
}

// Stream writes the normalised tar of a source.
func Stream(ctx context.Context, s *Source, w io.Writer, o Options) error {
	_, err := s.write(ctx, w, o, func(*entry, *notes) error { return nil }, nil)
	if err != nil {
		return failed(ctx, s.name, err)
	}
	return nil
}
