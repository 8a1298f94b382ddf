package box

import (
	"strings"
	"sync"
)

// maxLog is how much is kept of what a machine says.
const maxLog = 8 << 10

// logTail is a writer that keeps the end of what is written. It is for several
// goroutines.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps p, and forgets what came long before.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if more := len(l.text) - maxLog; more > 0 {
		l.text = append(l.text[:0], l.text[more:]...)
	}
	return len(p), nil
}

// String returns what is kept, as lines that a terminal can show.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(l.text), "?"))
}
