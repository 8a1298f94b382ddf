package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// screen is a terminal on which the last lines are drawn again and again. It
// implements mpb.ConsoleWriter. Unlike that of the library it goes back to the
// first column before it redraws, as a terminal echoes a Ctrl+C where the cursor
// is, and it counts the lines itself, as the library miscounts those that do not
// fit the terminal.
type screen struct {
	bytes.Buffer // of what is drawn next, with the way back to where that begins

	out  io.Writer
	bars int // lines in the buffer that the next drawing replaces
}

// A terminal that does not tell its size is of the usual one.
const (
	usualColumns = 80
	usualRows    = 24
)

// IsTerminal implements mpb.ConsoleWriter.
func (*screen) IsTerminal() bool { return true }

// GetTermSize implements mpb.ConsoleWriter. One column and one row stay free, so
// that no line wraps and nothing scrolls while lines are drawn.
func (s *screen) GetTermSize() (columns, rows int, err error) {
	columns, rows = usualColumns, usualRows
	if f, ok := s.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 1 && h > 1 {
			columns, rows = w, h
		}
	}
	return columns - 1, rows - 1, nil
}

// ReadFrom implements mpb.ConsoleWriter. It takes one line that is drawn again, as
// Write takes those that stay.
func (s *screen) ReadFrom(r io.Reader) (int64, error) {
	n, err := s.Buffer.ReadFrom(r)
	if n > 0 {
		s.bars++
	}
	return n, err
}

// Flush implements mpb.ConsoleWriter.
func (s *screen) Flush(int) error {
	if _, err := s.WriteTo(s.out); err != nil {
		return err
	}
	if s.bars > 0 {
		fmt.Fprintf(&s.Buffer, "\r\x1b[%dA\x1b[J", s.bars) // up, and erase what is below
	}
	s.bars = 0
	return nil
}
