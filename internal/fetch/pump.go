package fetch

import (
	"context"
	"hash"
	"io"
)

const (
	pieceSize = 256 << 10
	pieces    = 4
)

// pump moves data from a reader to a sink, in pieces, while a second goroutine
// hashes: each takes about as long as the other. The zero value is ready; its
// buffers are kept for the next run.
type pump struct {
	buffers [][]byte
}

// run hands r to sink until its end, and everything that sink has taken to hash.
// After an error of sink the hash is of no use.
func (p *pump) run(ctx context.Context, r io.Reader, h hash.Hash, sink func([]byte) error) error {
	free, full, hashed := make(chan []byte, pieces), make(chan []byte, pieces), make(chan struct{})
	for len(p.buffers) < pieces {
		p.buffers = append(p.buffers, make([]byte, pieceSize))
	}
	for _, buffer := range p.buffers {
		free <- buffer
	}
	go func() {
		defer close(hashed)
		for data := range full {
			h.Write(data) //nolint:errcheck // a hash never fails
			free <- data[:cap(data)]
		}
	}()
	defer func() {
		close(full)
		<-hashed
	}()
	for {
		buffer := <-free
		n, err := r.Read(buffer)
		if n > 0 {
			if err := sink(buffer[:n]); err != nil {
				return err
			}
			full <- buffer[:n]
		} else {
			free <- buffer
		}
		switch {
		case err == io.EOF: //nolint:errorlint // readers return it as it is
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}
