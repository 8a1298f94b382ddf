package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/smartvm/smartvm"
)

// bars draws a bar for each download on a terminal. It implements
// [smartvm.Progress]. All else that goes to that terminal is written through it:
// lines that come while there are bars appear above them.
type bars struct {
	out     io.Writer
	options []mpb.ContainerOption // of tests

	mu      sync.Mutex
	live    int           // downloads under way
	drawing *mpb.Progress // nil when there are none
}

// drawsBars reports whether a stream is a terminal that can move its cursor.
func drawsBars(stream io.Writer) bool { return isTerminal(stream) && os.Getenv("TERM") != "dumb" }

// Write implements [io.Writer]. It takes whole lines.
func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write(p)
}

func (b *bars) write(p []byte) (int, error) {
	if b.drawing != nil {
		if n, err := b.drawing.Write(p); err == nil {
			return n, nil
		}
	}
	return b.out.Write(p)
}

// Begin implements [smartvm.Progress].
func (b *bars) Begin(name string, total int64) smartvm.ProgressTask {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawing == nil {
		options := []mpb.ContainerOption{mpb.WithConsoleWriter(&screen{out: b.out}), mpb.WithWidth(barWidth)}
		b.drawing = mpb.New(append(options, b.options...)...)
	}
	b.live++
	t := &barTask{bars: b, name: label(name), total: total}
	t.pace.total = total
	t.bar = b.drawing.New(0, mpb.BarStyle(), // 0: it ends when it is told to
		// Columns of fixed widths: those that the library makes as wide as need be can
		// wait for each other for ever when there are many bars.
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return t.words() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return t.pace.outlook(time.Now()) })))
	t.bar.SetTotal(total, false)
	return t
}

// close ends the drawing, whoever has not ended a download.
func (b *bars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawing != nil {
		b.drawing.Shutdown()
		b.drawing, b.live = nil, 0
	}
}

// barWidth is how many columns a bar takes at most, without the words beside it.
const barWidth = 40

// barTask is one download.
type barTask struct {
	bars *bars
	bar  *mpb.Bar
	name string
	pace pace

	done, total int64
	shown       time.Time // when the bar was told so
}

// showEvery bounds how often a bar is told what it shows: it is redrawn less often,
// and a fast download has news many thousand times a second.
const showEvery = 50 * time.Millisecond

// Set implements [smartvm.ProgressTask].
func (t *barTask) Set(done, total int64) {
	t.done, t.total = done, total
	if now := time.Now(); now.Sub(t.shown) >= showEvery {
		t.show(now)
	}
}

func (t *barTask) show(now time.Time) {
	t.shown = now
	t.pace.set(t.done, t.total, now)
	t.bar.SetTotal(t.total, false)
	t.bar.SetCurrent(t.done)
}

// End implements [smartvm.ProgressTask]. A line takes the place of the bar.
func (t *barTask) End(err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	b := t.bars
	b.mu.Lock() // nobody may write between the last drawing and its end: it would never be seen
	defer b.mu.Unlock()
	t.pace.set(t.done, t.total, time.Now())
	t.bar.Abort(true)
	if b.live--; b.live == 0 && b.drawing != nil {
		b.drawing.Wait()
		b.drawing = nil
	}
	_, _ = b.write([]byte(t.words() + " " + outcome + "\n")) // nobody is left to tell if the terminal is gone
}

// words are what is before the bar.
func (t *barTask) words() string { return fmt.Sprintf("%-22s %22s", t.name, t.pace.amount()) }

// maxLabel bounds the name of a download, in characters.
const maxLabel = 32

// label is a name as it can be shown: it may come from a URL.
func label(name string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name))
	if len(runes) > maxLabel {
		runes = append(runes[:maxLabel-1], '…')
	}
	return cmp.Or(string(runes), "?")
}
