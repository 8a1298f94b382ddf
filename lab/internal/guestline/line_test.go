package guestline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/guestline"
)

func TestLinesArriveAsTheyWereMeant(t *testing.T) {
	t.Parallel()
	const text = "echo \"a\"\n\x00\xff€\x1b[1m\r@7 exit 0"
	for _, want := range []guestline.Request{
		{Verb: guestline.Run, ID: 7, Text: text}, {Verb: guestline.Run, ID: 1}, {Verb: guestline.More, ID: 7, Text: text}, {Verb: guestline.Kill, ID: 1<<64 - 1}, {Verb: guestline.Hello},
	} {
		line := want.String()
		checkLine(t, line)
		got, err := guestline.ParseRequest(line)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", line, err, diff)
		}
	}
	for _, want := range []guestline.Reply{
		{Kind: guestline.Ready, Text: "squashfs"},
		{Kind: guestline.Hi, ID: 3},
		{Kind: guestline.Taken, ID: 3},
		{Kind: guestline.Stdout, ID: 3, Text: text},
		{Kind: guestline.Stderr, ID: 3},
		{Kind: guestline.Exit, ID: 3, Code: 137},
	} {
		line := want.String()
		checkLine(t, line)
		got, ok, err := guestline.ParseReply(strings.Replace(line, "\n", "\r\n", 1)) // a terminal may do that
		if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
			t.Errorf("%q: %t, %v\n%s", line, ok, err, diff)
		}
	}
}

func TestRequestsAreSentInShortLines(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "ls", strings.Repeat("long ", 1000), strings.Repeat("\x00", guestline.MaxText), strings.Repeat("€\n", 300)} {
		lines := guestline.Request{Verb: guestline.Run, ID: 1 << 40, Text: text}.Lines()
		var got string
		for i, line := range lines {
			checkLine(t, line)
			if len(line) > 200 {
				t.Errorf("a line of %d bytes", len(line))
			}
			r, err := guestline.ParseRequest(line)
			if last := i == len(lines)-1; err != nil || last != (r.Verb == guestline.Run) || !last && r.Verb != guestline.More || r.ID != 1<<40 {
				t.Errorf("%d of %d: %+v, %v", i, len(lines), r, err)
			}
			got += r.Text
		}
		if got != text {
			t.Errorf("%q arrives as %q", text, got)
		}
	}
	if got := (guestline.Request{Verb: guestline.Kill, ID: 7}).Lines(); len(got) != 1 || got[0] != "kill 7\n" {
		t.Errorf("got %q", got)
	}
}

func checkLine(t *testing.T, line string) {
	t.Helper()
	if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' }) {
		t.Errorf("%q is no line of ASCII", line)
	}
}

func TestLongestTextFitsIntoALine(t *testing.T) {
	t.Parallel()
	r := guestline.Reply{Kind: guestline.Stdout, ID: 1<<64 - 1, Text: strings.Repeat("\x00", guestline.MaxText)}
	if n := len(r.String()); n > guestline.MaxLine {
		t.Errorf("a line of %d bytes; the limit is %d", n, guestline.MaxLine)
	}
}

func TestOtherLinesAreToldFromDamagedOnes(t *testing.T) {
	t.Parallel()
	for line, damaged := range map[string]bool{
		"": false, "[    0.1] Linux version": false, "login: @1 exit 0": false,
		"@": true, "@7": true, "@7 exit": true, "@7 exit x": true, `@7 out "abc`: true, "@x out \"\"": true, "@7 err [  1.0] oops": true, "@7 what": true,
	} {
		r, ok, err := guestline.ParseReply(line)
		if ok != damaged || (err != nil) != damaged {
			t.Errorf("%q: got %+v, %t, %v", line, r, ok, err)
		}
	}
	for _, line := range []string{"", "run", "run 1", "run 1 ls", `run x "ls"`, "kill", "kill 1 2", "shout 1", "hello -1"} {
		if r, err := guestline.ParseRequest(line); err == nil {
			t.Errorf("%q: got %+v", line, r)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	for _, line := range []string{"@ready ext4", "@7 hello", `@7 out "a\n"`, "@7 exit 0", "noise"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, ok, err := guestline.ParseReply(line)
		if !ok || err != nil || r.Kind == guestline.Ready {
			return
		}
		again, ok, err := guestline.ParseReply(r.String())
		if !ok || err != nil || again.ID != r.ID || again.Kind != r.Kind || again.Code != r.Code || len(again.Text) != len(r.Text) {
			t.Fatalf("%q is %+v, and that %+v, %t, %v", line, r, again, ok, err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, line := range []string{`run 7 "ip addr"`, "kill 7", "hello 8"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := guestline.ParseRequest(line)
		if err != nil {
			return
		}
		if again, err := guestline.ParseRequest(r.String()); err != nil || again != r {
			t.Fatalf("%q is %+v, and that %+v, %v", line, r, again, err)
		}
	})
}
