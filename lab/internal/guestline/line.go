// Package guestline is what tests and the first process of a guest say to each
// other over the serial console: lines of ASCII that a person can read and type.
//
//	more 7 "ip "                     to the guest: the beginning of a command
//	run 7 "addr"                     to the guest: the rest, run it with a shell
//	kill 7                           to the guest: end that
//	hello 8                          to the guest: answer
//	@ready squashfs                  the guest is up, on such a root file system
//	@7 taken                         the guest has read a line about that
//	@8 hello
//	@7 out "1: lo: <LOOPBACK,UP>\n"  what the command prints
//	@7 err "..."
//	@7 exit 0                        it has ended; 128 and the number for a signal
//
// Lines that do not begin with @ are somebody else's, such as the kernel's.
package guestline

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxText bounds what is quoted in a line, in bytes.
const MaxText = 4 << 10

// MaxLine bounds a line: each byte of a text may need four.
const MaxLine = 4*MaxText + 64

// Verb is what a request asks for.
type Verb string

// Verbs.
const (
	More  Verb = "more"
	Run   Verb = "run"
	Kill  Verb = "kill"
	Hello Verb = "hello"
)

// Request is a line to the guest.
type Request struct {
	Verb Verb
	ID   uint64
	Text string // of Run and More
}

// String returns the line, with its end.
func (r Request) String() string {
	if r.Verb != Run && r.Verb != More {
		return fmt.Sprintf("%s %d\n", r.Verb, r.ID)
	}
	return fmt.Sprintf("%s %d %s\n", r.Verb, r.ID, strconv.QuoteToASCII(r.Text))
}

// maxQuoted bounds what is quoted in a request that is sent, in bytes: see [Request.Lines].
const maxQuoted = 160

// Lines returns the request as lines that are short enough to be sent one at a time,
// each when the one before has been taken. Linux reads 256 bytes from a serial port and
// then waits for an interrupt (serial8250_rx_chars); that of Firecracker, if it has been
// given more meanwhile, sends none for what it has already.
func (r Request) Lines() (lines []string) {
	rest := r.Text
	for r.Verb == Run && len(strconv.QuoteToASCII(rest)) > maxQuoted {
		n := min(len(rest), maxQuoted)
		for len(strconv.QuoteToASCII(rest[:n])) > maxQuoted {
			n = n * 3 / 4
		}
		lines = append(lines, Request{Verb: More, ID: r.ID, Text: rest[:n]}.String())
		rest = rest[n:]
	}
	return append(lines, Request{Verb: r.Verb, ID: r.ID, Text: rest}.String())
}

var errNotRequest = errors.New("not a request")

// ParseRequest parses a line, with its end or without.
func ParseRequest(line string) (Request, error) {
	verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	number, text, _ := strings.Cut(rest, " ")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Request{}, errNotRequest
	}
	r := Request{Verb: Verb(verb), ID: id}
	switch r.Verb {
	case Run, More:
		if r.Text, err = strconv.Unquote(text); err != nil {
			return Request{}, errNotRequest
		}
		return r, nil
	case Kill, Hello:
		if text == "" {
			return r, nil
		}
	}
	return Request{}, errNotRequest
}

// Kind is what a reply is about.
type Kind string

// Kinds of replies.
const (
	Ready  Kind = "ready" // the only one without an id
	Taken  Kind = "taken"
	Hi     Kind = "hello"
	Stdout Kind = "out"
	Stderr Kind = "err"
	Exit   Kind = "exit"
)

// Reply is a line from the guest.
type Reply struct {
	Kind Kind
	ID   uint64
	Text string // of Stdout and Stderr; the root file system of Ready
	Code int    // of Exit
}

// mark begins each reply.
const mark = "@"

// String returns the line, with its end.
func (r Reply) String() string {
	switch r.Kind {
	case Ready:
		return fmt.Sprintf("%s%s %s\n", mark, Ready, r.Text)
	case Exit:
		return fmt.Sprintf("%s%d %s %d\n", mark, r.ID, r.Kind, r.Code)
	case Hi, Taken:
		return fmt.Sprintf("%s%d %s\n", mark, r.ID, r.Kind)
	default:
		return fmt.Sprintf("%s%d %s %s\n", mark, r.ID, r.Kind, strconv.QuoteToASCII(r.Text))
	}
}

// ParseReply parses a line, with its end or without. ok is false for a line that is
// somebody else's; the error is about a reply that is damaged.
func ParseReply(line string) (r Reply, ok bool, err error) {
	line = strings.TrimRight(line, "\r\n")
	rest, ok := strings.CutPrefix(line, mark)
	if !ok {
		return Reply{}, false, nil
	}
	first, rest, _ := strings.Cut(rest, " ")
	if first == string(Ready) {
		return Reply{Kind: Ready, Text: rest}, true, nil
	}
	kind, text, _ := strings.Cut(rest, " ")
	r.Kind = Kind(kind)
	if r.ID, err = strconv.ParseUint(first, 10, 64); err == nil {
		switch r.Kind {
		case Hi, Taken:
		case Stdout, Stderr:
			r.Text, err = strconv.Unquote(text)
		case Exit:
			r.Code, err = strconv.Atoi(text)
		default:
			err = errors.New("unknown kind")
		}
	}
	if err != nil {
		return Reply{}, true, fmt.Errorf("damaged reply %q: %w", line, err)
	}
	return r, true, nil
}
