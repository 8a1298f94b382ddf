package hello

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/firecracker"
	releases "github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// shapes are the machines on which each behaviour must be the same.
func shapes() []shape { return []shape{{1, 16}, {2, 16}, {1, 1024}, {2, 1024}} }

// greeting is all that a guest prints before it does what it was told.
func greeting(t *testing.T, s shape, args string) string {
	t.Helper()
	return fmt.Sprintf("%s\r\nmemory: %d MiB\r\nvcpus: %d\r\nboot args: %s\r\n", Greeting, s.memMiB, s.vcpus, given(t, args))
}

// given is what Firecracker makes of boot arguments: since v1.13 it adds one.
func given(t *testing.T, args string) string {
	t.Helper()
	known, err := releases.Inspect(t.Context(), hosttest.Firecracker(t))
	if err != nil {
		t.Fatal(err)
	}
	if known.Version.Compare(firecracker.Version{Major: 1, Minor: 13}) < 0 {
		return args
	}
	return strings.TrimPrefix(args+" pci=off", " ")
}

const goodbye = Goodbye + "\r\n"

func TestGuestGreetsAndEndsByItself(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"", Exit, "console=ttyS0 hello.exiting hello.exit=1 xhello.stay", Exit + " " + Stay} {
		for _, s := range shapes() {
			t.Run(s.String()+" "+args, func(t *testing.T) {
				t.Parallel()
				if got, want := boot(t, s, args).end(t), greeting(t, s, args)+goodbye; got != want {
					t.Errorf("console\n%q, want\n%q", got, want)
				}
			})
		}
	}
}

func TestGuestStaysUntilCtrlAltDel(t *testing.T) {
	t.Parallel()
	for _, args := range []string{Stay, Touch(4), Echo, CountEach(time.Hour)} {
		for _, s := range shapes() {
			t.Run(s.String()+" "+args, func(t *testing.T) {
				t.Parallel()
				m := boot(t, s, args)
				m.await(t, "boot args: "+given(t, args)+"\r\n")
				m.ctrlAltDel(t)
				if got := m.end(t); !strings.HasSuffix(got, goodbye) {
					t.Errorf("last words %q", got)
				}
			})
		}
	}
}

func TestGuestHearsCtrlAltDelBeforeItListens(t *testing.T) {
	t.Parallel()
	m := boot(t, shape{1, 16}, Spin(20_000), Stay)
	m.await(t, SpinStart)
	m.ctrlAltDel(t)
	if got := m.end(t); !strings.HasSuffix(got, goodbye) {
		t.Errorf("last words %q", got)
	}
}

func TestMarkIsTheOnlyOutput(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := boot(t, s, Mark)
			if came, _ := m.read(t, patience); !came {
				t.Fatal("no marker")
			}
			m.ctrlAltDel(t)
			if got := m.end(t); got != string(Marker) {
				t.Errorf("console %q", got)
			}
		})
	}
}

func TestCounterStopsWhilePausedAndGoesOnWithoutAGap(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := boot(t, s, CountEach(10*time.Millisecond))
			m.await(t, CountPrefix+"3\r\n")
			m.setState(t, "Paused")
			m.read(t, 50*time.Millisecond) // what was printed before
			before := m.seen.Len()
			if came, _ := m.read(t, 300*time.Millisecond); came {
				t.Errorf("printed %q while paused", m.seen.String()[before:])
			}
			m.setState(t, "Resumed")
			for n := range 5 {
				m.await(t, fmt.Sprintf("%s%d\r\n", CountPrefix, n+4))
			}
		})
	}
}

func TestCounterDoesNotMakeUpForAPause(t *testing.T) {
	t.Parallel()
	const period = 50 * time.Millisecond
	m := boot(t, shape{1, 16}, CountEach(period))
	m.await(t, CountPrefix+"1\r\n")
	m.setState(t, "Paused")
	m.read(t, 20*period)
	m.read(t, 20*period)
	m.seen.Reset()
	resumed := time.Now()
	m.setState(t, "Resumed")
	for range 5 {
		m.await(t, CountPrefix)
	}
	if took := time.Since(resumed); took < 3*period {
		t.Errorf("five counts after a pause took %v, want more than three periods of %v", took, period)
	}
}

func TestSnapshotGoesOnInANewProcess(t *testing.T) {
	t.Parallel()
	for _, s := range []shape{{1, 16}, {2, 16}} { // the whole memory is written
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := boot(t, s, CountEach(10*time.Millisecond), Echo, Touch(8))
			m.await(t, CountPrefix+"3\r\n")
			m.setState(t, "Paused")
			m.put(t, http.MethodPut, "/snapshot/create", map[string]any{
				"snapshot_path": filepath.Join(m.dir, "state"), "mem_file_path": filepath.Join(m.dir, "mem"),
			})
			m.read(t, 50*time.Millisecond)
			last := 3 + strings.Count(m.seen.String(), "\r\n")

			clone := restore(t, m.dir)
			clone.await(t, fmt.Sprintf("%s%d\r\n", CountPrefix, last+3))
			if _, err := clone.keys.WriteString("still there\n"); err != nil {
				t.Fatal(err)
			}
			clone.await(t, "still there\r\n")
			clone.ctrlAltDel(t)
			if got := clone.end(t); !strings.HasSuffix(got, goodbye) {
				t.Errorf("last words %q", got)
			}

			m.setState(t, "Resumed")
			m.await(t, fmt.Sprintf("%s%d\r\n", CountPrefix, last+1))
		})
	}
}

func TestEchoAnswersLineByLine(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := boot(t, s, Echo)
			m.await(t, "boot args: "+given(t, Echo)+"\r\n")
			long := strings.Repeat("x", 255) + strings.Repeat("y", 5)
			if _, err := m.keys.WriteString("one two\nthree\r\n\nexits\n" + long + "\nexit\n"); err != nil {
				t.Fatal(err)
			}
			want := "one two\r\nthree\r\nexits\r\n" + long[:255] + "\r\n" + long[255:] + "\r\n" + goodbye
			if got := m.end(t); got != want {
				t.Errorf("console\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestTouchWritesAsFarAsThereIsMemory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		shape   shape
		mib     int
		touched string
	}{
		{shape{1, 16}, 4, "touched 4 MiB"},
		{shape{2, 16}, 1000, "touched 14 MiB"},
		{shape{1, 1024}, 64, "touched 64 MiB"},
	} {
		t.Run(fmt.Sprintf("%v-%d", test.shape, test.mib), func(t *testing.T) {
			t.Parallel()
			args := Touch(test.mib) + " " + Exit
			if got, want := boot(t, test.shape, args).end(t), greeting(t, test.shape, args)+test.touched+"\r\n"+goodbye; got != want {
				t.Errorf("console\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestSpinSaysWhenItStartsAndEnds(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			args := Spin(10_000)
			want := greeting(t, s, args) + SpinStart + "\r\n" + SpinEnd + "\r\n" + goodbye
			if got := boot(t, s, args).end(t); got != want {
				t.Errorf("console\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestCrashEndsTheMachineWithoutGoodbye(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			if got, want := boot(t, s, Crash).end(t), greeting(t, s, Crash)+"crash\r\n"; got != want {
				t.Errorf("console\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestHangIsDeafToCtrlAltDel(t *testing.T) {
	t.Parallel()
	m := boot(t, shape{2, 16}, Hang)
	m.await(t, "\r\nhang\r\n")
	m.ctrlAltDel(t)
	if came, open := m.read(t, 300*time.Millisecond); came || !open {
		t.Errorf("console %q, open %v", m.seen.String(), open)
	}
}

func TestFloodEndsOnCtrlAltDel(t *testing.T) {
	t.Parallel()
	m := boot(t, shape{1, 16}, Flood)
	m.await(t, "number 100\r\n")
	m.ctrlAltDel(t)
	if got := m.end(t); !strings.HasSuffix(got, goodbye) {
		t.Errorf("last words %q", got)
	}
}

// TestIdleGuestsLeaveTheProcessorAlone compares with a guest that spins, so that a busy machine slows both.
func TestIdleGuestsLeaveTheProcessorAlone(t *testing.T) {
	t.Parallel()
	idle := map[string]*machine{}
	for _, args := range []string{Stay, Mark, Echo, Count} {
		idle[args] = boot(t, shape{2, 16}, args)
		idle[args].read(t, patience)
	}
	spinning := boot(t, shape{2, 16}, Hang)
	spinning.await(t, "\r\nhang\r\n")

	before := map[string]time.Duration{}
	for args, m := range idle {
		before[args] = m.cpu(t)
	}
	const enough = 400 * time.Millisecond
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for start := spinning.cpu(t); spinning.cpu(t)-start < enough; {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	for args, m := range idle {
		if used := m.cpu(t) - before[args]; used > enough/5 {
			t.Errorf("%s used %v of processor time while a spinning guest used %v", args, used, enough)
		}
	}
}
