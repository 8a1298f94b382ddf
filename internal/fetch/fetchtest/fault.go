package fetchtest

// Fault is a way to answer badly. Its fields can be combined as far as that makes sense.
type Fault struct {
	// Times is how many requests it hits, after which the path behaves; 0 = all.
	Times int
	// Skip is how many requests go well before the first that is hit.
	Skip int

	// Status answers with that status and no content.
	Status int
	// RetryAfter is the header of that name: seconds or a date.
	RetryAfter string
	// Redirect answers 302 with that Location; the path itself makes a loop.
	Redirect string

	// Cut closes the connection after CutAfter bytes of the content.
	Cut      bool
	CutAfter int64
	// Stall sends nothing more after StallAfter bytes of the content until the client
	// gives up. StallHeader sends not even a header.
	Stall       bool
	StallAfter  int64
	StallHeader bool
	// Endless sends zero bytes for ever, without a Content-Length.
	Endless bool
	// Short makes the content and its Content-Length so many bytes too short.
	Short int64
	// Trickle sends the content in writes of so many bytes, each flushed.
	Trickle int
	// Corrupt flips one bit in the middle of the content.
	Corrupt bool
	// Replace is sent instead of the content, with validators of its own.
	Replace []byte

	// IgnoreRange sends everything with 200, whatever was asked for.
	IgnoreRange bool
	// IgnoreIfRange sends the range that was asked for, even of a changed file.
	IgnoreIfRange bool
	// ContentRange is sent instead of the right one in a 206.
	ContentRange string
	// NoLength leaves Content-Length out.
	NoLength bool
	// NoValidator leaves ETag and Last-Modified out, NoETag only the first. WeakETag
	// sends a weak ETag and no Last-Modified.
	NoValidator, NoETag, WeakETag bool
	// Encoding is a Content-Encoding that the content does not have.
	Encoding string
}
