package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vbauerster/mpb/v8"
)

// fakeTerminal shows what a terminal would: it knows the control sequences that
// bars use, and fails the test for any other.
type fakeTerminal struct {
	t *testing.T

	mu          sync.Mutex
	lines       [][]rune
	row, column int
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; r {
		case '\r':
			f.column = 0
		case '\n':
			f.row, f.column = f.row+1, 0
		case 0x1b:
			length := f.control(string(text[i:]))
			i += length - 1
		default:
			f.put(r)
		}
	}
	return len(p), nil
}

var (
	cursorUp     = regexp.MustCompile(`^\x1b\[([0-9]+)A`)
	eraseBelow   = regexp.MustCompile(`^\x1b\[J`)
	noSuchColumn = 80
)

func (f *fakeTerminal) control(text string) (length int) {
	if m := cursorUp.FindStringSubmatch(text); m != nil {
		var n int
		if _, err := fmt.Sscan(m[1], &n); err != nil || n > f.row {
			f.t.Errorf("%d lines up from line %d: %v", n, f.row, err)
		}
		f.row = max(f.row-n, 0)
		return len(m[0])
	}
	if m := eraseBelow.FindString(text); m != "" {
		f.lines = f.lines[:min(len(f.lines), f.row+1)]
		if f.row < len(f.lines) {
			f.lines[f.row] = f.lines[f.row][:min(len(f.lines[f.row]), f.column)]
		}
		return len(m)
	}
	f.t.Errorf("a control sequence that nobody knows: %q", text[:min(len(text), 10)])
	return 1
}

func (f *fakeTerminal) put(r rune) {
	for len(f.lines) <= f.row {
		f.lines = append(f.lines, nil)
	}
	for len(f.lines[f.row]) <= f.column {
		f.lines[f.row] = append(f.lines[f.row], ' ')
	}
	f.lines[f.row][f.column] = r
	if f.column++; f.column >= noSuchColumn {
		f.t.Errorf("line %d wraps: %s", f.row, string(f.lines[f.row]))
	}
}

// screen returns the lines, and where the cursor is.
func (f *fakeTerminal) screen() (lines []string, row, column int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lines {
		lines = append(lines, strings.TrimRight(string(l), " "))
	}
	return lines, f.row, f.column
}

// newBars returns bars on a fake terminal, and what draws them once.
func newBars(t *testing.T) (*bars, *fakeTerminal, func()) {
	t.Helper()
	f, refresh := &fakeTerminal{t: t}, make(chan any)
	b := &bars{out: f, options: []mpb.ContainerOption{mpb.WithManualRefresh(refresh)}}
	t.Cleanup(b.close)
	return b, f, func() {
		for range 3 { // when the third is taken, the first has been drawn
			refresh <- time.Now()
		}
	}
}

// blurred takes out of lines what depends on time and width.
func blurred(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		l = regexp.MustCompile(`\[[=>-]*\]`).ReplaceAllString(l, "[]")
		l = regexp.MustCompile(`[0-9.]+ [KMG]?i?B/s( [0-9hms]+)?$`).ReplaceAllString(l, "SPEED")
		out[i] = regexp.MustCompile(` +`).ReplaceAllString(l, " ")
	}
	return out
}

func wantLines(t *testing.T, f *fakeTerminal, want ...string) {
	t.Helper()
	lines, row, column := f.screen()
	if diff := cmp.Diff(want, blurred(lines)); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
	if row != len(lines) || column != 0 {
		t.Errorf("the cursor is at line %d column %d, not at the start of the line below %d", row, column, len(lines))
	}
}

func TestBarsShowSeveralDownloadsAndHowTheyEnd(t *testing.T) {
	t.Parallel()
	b, f, draw := newBars(t)
	kernel, rootfs := b.Begin("vmlinux", 4<<20), b.Begin("ubuntu.squashfs", 0)
	kernel.Set(1<<20, 4<<20)
	rootfs.Set(3<<20, 0)
	draw()
	wantLines(t, f, "vmlinux 1.0 MiB / 4.0 MiB [] 25 % SPEED", "ubuntu.squashfs 3.0 MiB [] SPEED")
	kernel.Set(4<<20, 4<<20)
	kernel.End(nil)
	rootfs.Set(5<<20, 0)
	rootfs.End(errors.New("cut"))
	wantLines(t, f, "vmlinux 4.0 MiB / 4.0 MiB done", "ubuntu.squashfs 5.0 MiB failed")
	// What comes then is below, bars as well as lines.
	fmt.Fprintln(b, "error: cut")
	again := b.Begin("ubuntu.squashfs", 8<<20)
	again.End(nil)
	wantLines(t, f, "vmlinux 4.0 MiB / 4.0 MiB done", "ubuntu.squashfs 5.0 MiB failed", "error: cut",
		"ubuntu.squashfs 0 B / 8.0 MiB done")
}

func TestLinesThatAreLoggedDoNotTearBars(t *testing.T) {
	t.Parallel()
	b, f, draw := newBars(t)
	task := b.Begin("vmlinux", 4<<20)
	task.Set(1<<20, 4<<20)
	draw()
	fmt.Fprintln(b, "one")
	draw()
	fmt.Fprintln(b, "two")
	task.End(nil)
	fmt.Fprintln(b, "three")
	wantLines(t, f, "one", "two", "vmlinux 1.0 MiB / 4.0 MiB done", "three")
}

func TestBarsAreRedrawnWhereTheTerminalEchoesAKey(t *testing.T) {
	t.Parallel()
	b, f, draw := newBars(t)
	task := b.Begin("vmlinux", 4<<20)
	draw()
	if _, err := io.WriteString(f, "^C"); err != nil {
		t.Fatal(err)
	}
	task.End(errors.New("stopped"))
	wantLines(t, f, "vmlinux 0 B / 4.0 MiB failed")
}

func TestBarsThatNobodyEndsAreClosed(t *testing.T) {
	t.Parallel()
	b, f, draw := newBars(t)
	b.Begin("vmlinux", 0)
	draw()
	b.close()
	fmt.Fprintln(b, "error: it has ended")
	lines, _, column := f.screen()
	if len(lines) != 2 || lines[1] != "error: it has ended" || column != 0 {
		t.Errorf("the screen has %q", lines)
	}
}

func TestBarsOutliveATerminalThatIsGone(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	refresh := make(chan any)
	b := &bars{out: w, options: []mpb.ContainerOption{mpb.WithManualRefresh(refresh)}}
	task := b.Begin("vmlinux", 0)
	refresh <- time.Now()
	if _, err := io.WriteString(b, "a line\n"); err == nil {
		task.Set(1, 2) // it may have been taken before the drawing failed
	}
	task.End(nil)
	b.close()
}

func TestConcurrentDownloadsShareTheScreen(t *testing.T) {
	t.Parallel()
	f := &fakeTerminal{t: t}
	b := &bars{out: f, options: []mpb.ContainerOption{mpb.WithRefreshRate(time.Millisecond)}}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 20 {
				task := b.Begin(fmt.Sprintf("file-%d-%d", i, n), 1000)
				for done := int64(0); done <= 1000; done += 100 {
					task.Set(done, 1000)
				}
				fmt.Fprintf(b, "log %d-%d\n", i, n)
				task.End(nil)
			}
		})
	}
	all.Wait()
	lines, _, column := f.screen()
	var logs, bars int
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "log "):
			logs++
		case strings.HasPrefix(l, "file-") && strings.HasSuffix(l, "done"):
			bars++
		default:
			t.Errorf("a torn line: %q", l)
		}
	}
	if logs != 8*20 || bars != 8*20 || column != 0 {
		t.Errorf("%d lines and %d bars, cursor in column %d", logs, bars, column)
	}
}

func TestNamesOfDownloadsAreHarmless(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"vmlinux": "vmlinux", "": "?", "a\x1b[2Jb\n": "a?[2Jb?", "ü": "ü", "a\u202eb": "a?b",
		strings.Repeat("x", 40): strings.Repeat("x", 31) + "…",
	} {
		if got := label(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestPaceLooksAtTheLastSeconds(t *testing.T) {
	t.Parallel()
	var p pace
	start := time.Unix(1e9, 0)
	p.set(100<<20, 200<<20, start) // an earlier call has left this
	if got := p.outlook(start); got != "50 % 0 B/s" {
		t.Errorf("at the start: %q", got)
	}
	p.set(110<<20, 200<<20, start.Add(time.Second))
	if got := p.outlook(start.Add(time.Second)); got != "55 % 10.0 MiB/s 9s" {
		t.Errorf("after a second: %q", got)
	}
	if got := p.outlook(start.Add(20 * time.Second)); !strings.HasPrefix(got, "55 % 18.2 KiB/s 1h") {
		t.Errorf("after a stall: %q", got)
	}
	p.set(0, 0, start.Add(21*time.Second)) // it starts afresh
	p.set(1<<20, 0, start.Add(22*time.Second))
	if got := p.outlook(start.Add(22 * time.Second)); !strings.HasSuffix(got, " MiB/s") || strings.Contains(got, "%") {
		t.Errorf("without a total: %q", got)
	}
}
