package firecracker

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds on what is read, whatever the other side sends.
const (
	maxAnswer    = 4 << 20
	maxErrorBody = 64 << 10
)

// drainQuiet is how long a connection is silent before it is taken for idle.
const drainQuiet = 250 * time.Millisecond

var (
	errAnswerTooLarge = errors.New("the answer is too large")
	errLostSync       = errors.New("firecracker gave up the connection after an earlier request of the batch")
)

// link is one connection. Its methods are for the holder of the client's token,
// but for close.
type link struct {
	conn   net.Conn
	bound  *boundedReader
	reader *bufio.Reader
	broken bool // what comes next on the connection is not known
	owed   int  // answers to what was sent that have not come

	busy bool // a call is under way; guarded by the client's mu
}

func newLink(conn net.Conn) *link {
	bound := &boundedReader{from: conn}
	return &link{conn: conn, bound: bound, reader: bufio.NewReader(bound)}
}

// close needs no result: nothing is buffered for writing.
func (l *link) close() { _ = l.conn.Close() }

// interrupt ends the reads and writes under way, without closing.
func (l *link) interrupt() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }

// drain reads what is owed, and then until nothing has come for a while, and
// closes. Firecracker does not survive a write into a connection that is closed:
// its SIGPIPE handler returns through rt_sigreturn, which the seccomp filter of
// its API thread forbids, up to v1.17. Mostly it notices the hang-up before it
// writes; while it answers what it can't parse, it does so one time in three.
func (l *link) drain() {
	defer l.close()
	if l.conn.SetDeadline(time.Time{}) != nil {
		return
	}
	for ; l.owed > 0; l.owed-- {
		if _, err := l.read(http.MethodPut); err != nil {
			break
		}
	}
	scrap := make([]byte, 4096)
	for {
		if l.conn.SetDeadline(time.Now().Add(drainQuiet)) != nil {
			return
		}
		if _, err := l.conn.Read(scrap); err != nil {
			return
		}
	}
}

// call writes the requests at once and reads an answer to each method. The
// answers that came before an error are returned with it. Sent reports whether
// any byte was taken by the other side's socket.
func (l *link) call(ctx context.Context, requests []byte, methods []string) (answers []*Response, sent bool, err error) {
	stop := context.AfterFunc(ctx, l.interrupt)
	defer func() {
		// Once the function has begun it may strike a later call's deadline.
		if !stop() {
			l.broken = true
		}
	}()
	n, writeErr := l.conn.Write(requests)
	if writeErr == nil {
		l.owed = len(methods)
	}
	// A refused connection (503) is closed with the answer on its way, which tells more than the failed write.
	for _, method := range methods {
		answer, err := l.read(method)
		if err != nil {
			l.broken = true
			return answers, n > 0, cmp.Or(writeErr, err) // the write came first
		}
		l.owed = max(l.owed-1, 0)
		answers = append(answers, answer)
		if l.broken && len(answers) < len(methods) {
			return answers, true, errLostSync
		}
	}
	if writeErr != nil || l.reader.Buffered() > 0 {
		l.broken = true
	}
	return answers, true, nil
}

// read reads one answer. An answer that leaves the connection out of step marks it as broken.
func (l *link) read(method string) (*Response, error) {
	l.bound.left = maxAnswer
	raw, err := http.ReadResponse(l.reader, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer raw.Body.Close()
	limit := int64(maxAnswer)
	if raw.StatusCode/100 != 2 {
		limit = maxErrorBody
	}
	if raw.ContentLength > limit {
		return nil, errAnswerTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(raw.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errAnswerTooLarge
	}
	answer, inStep := newResponse(raw, body)
	l.broken = l.broken || !inStep || raw.Close || raw.ContentLength < 0
	return answer, nil
}

// boundedReader fails once more than left bytes were read, so that endless
// headers end too.
type boundedReader struct {
	from io.Reader
	left int
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswerTooLarge
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
