package firecracker

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// DefaultTimeout bounds a call that has no shorter bound in its context.
	DefaultTimeout = 10 * time.Second
	// DefaultBodyLimit is Firecracker's default of --http-api-max-payload-size, in bytes.
	DefaultBodyLimit = 51200
)

// ClientOptions configure a [Client]; the zero value is fine.
type ClientOptions struct {
	// Version is the Firecracker behind the socket. When it is zero, the client
	// asks once, before the first call that some Firecracker would not know.
	Version Version
	// Timeout bounds each call, the wait for earlier calls included; default
	// [DefaultTimeout], negative for none. Creating and loading snapshots take as
	// long as the disk does, and are bounded by their context only.
	Timeout time.Duration
	// BodyLimit is --http-api-max-payload-size of the process; default [DefaultBodyLimit].
	BodyLimit int
	// Dial opens a connection to the socket; default net.Dialer.
	Dial func(ctx context.Context, socket string) (net.Conn, error)
	// Logger gets a warning for each call that Firecracker calls deprecated; nil is none.
	Logger *slog.Logger
}

// Client talks to one Firecracker process. It has at most one connection, which
// it opens on the first call and keeps; calls from several goroutines take
// turns, as they would in Firecracker, which serves one call at a time.
//
// There are two levels. [Client.Get], Put, Patch and Delete send what they are
// given and return the answer, also a refusal. [Client.Do] and the named calls
// check the request against Firecracker's version first (UNSUPPORTED_VERSION,
// nothing is sent) and turn a refusal into API_ERROR with the status code and
// Firecracker's words.
//
// Both levels fail with API_TIMEOUT when no answer came in time and with
// SOCKET_REQUEST_FAILED when the call could not be made or was cancelled; the
// cause matches the context's error. In either case the call may have taken
// effect. The next call then opens another connection. The old one stays open in
// the background until Firecracker has answered or ended, because Firecracker
// can die of an answer into a closed connection. For the same reason a program
// should not exit while a call is under way.
type Client struct {
	socket  string
	options ClientOptions
	token   chan struct{} // holds one element while a call is under way

	mu      sync.Mutex
	version Version
	link    *link // replaced by the holder of the token
	closed  bool
}

// NewClient returns a client of the Firecracker that listens on socket. It does
// not connect yet; see [Client.Connect].
func NewClient(socket string, opts ClientOptions) *Client {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.BodyLimit == 0 {
		opts.BodyLimit = DefaultBodyLimit
	}
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context, socket string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{socket: socket, options: opts, token: make(chan struct{}, 1), version: opts.Version}
}

// Socket returns the path that the client was made for.
func (c *Client) Socket() string { return c.socket }

// Connect opens the connection now, unless there is one.
func (c *Client) Connect(ctx context.Context) error {
	deadline := c.deadline(false)
	release, err := c.turn(ctx, deadline)
	if err == nil {
		defer release()
		_, _, err = c.connect(ctx, deadline)
	}
	if err != nil {
		return c.transportError(ctx, c.socket, err)
	}
	return nil
}

// Close closes the connection. A call under way fails, as do later ones. Close
// may be called at any time, and more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	switch {
	case c.link == nil:
	case c.link.busy:
		c.link.interrupt()
	default:
		c.link.close()
	}
	return nil
}

// deadline returns when a call that starts now has to be over; zero for never.
func (c *Client) deadline(slow bool) time.Time {
	if slow || c.options.Timeout < 0 {
		return time.Time{}
	}
	return time.Now().Add(c.options.Timeout)
}
