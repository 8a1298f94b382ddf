package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/smartvm/smartvm/internal/proc"
)

// An entry is one line of the file.
type entry struct {
	Op    string          `json:"op"`              // own, about, make, made, gone, mark
	N     int             `json:"n,omitempty"`     // number of the resource, for make, made, gone
	Kind  string          `json:"kind,omitempty"`  // for make
	What  json.RawMessage `json:"what,omitempty"`  // the resource, for make and made; the description, for about
	Name  string          `json:"name,omitempty"`  // for mark
	Owner *Owner          `json:"owner,omitempty"` // for own
	Time  time.Time       `json:"time,omitzero"`   // for own and mark
}

// line returns the entry as it stands in the file. What has been encoded already
// and is not encoded again.
func (e entry) line() ([]byte, error) {
	what := e.What
	e.What = nil
	line, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if len(what) > 0 {
		line = append(append(line[:len(line)-1], `,"what":`...), what...)
		line = append(line, '}')
	}
	return append(line, '\n'), nil
}

// Owner is the process that holds, or held, the lock.
type Owner struct {
	PID int `json:"pid"`
	// Command is its program and first arguments, to be recognised by people.
	Command string `json:"command"`
	// BootID is the kernel's boot_id: a ledger on a disk survives a reboot, what it records does not.
	BootID string `json:"boot_id"`
}

// self describes this process.
var self = sync.OnceValue(func() Owner {
	words := os.Args
	if len(words) > 3 {
		words = words[:3]
	}
	return Owner{PID: os.Getpid(), Command: strings.Join(words, " "), BootID: proc.BootID()}
})

// contents is what the lines of a ledger add up to.
type contents struct {
	owner     Owner
	created   time.Time
	marks     map[string]time.Time
	resources []*held // in the order of their making, without those that are gone
	about     json.RawMessage
	last      int   // highest number in use
	size      int64 // bytes up to the end of the last whole line
}

// held is a resource that has not been given back.
type held struct {
	n        int
	resource Resource
}

// parse reads the lines of a ledger. A last line without its newline is what a
// kill in the middle of a write leaves: its effect has not happened, so it does
// not count.
func parse(data []byte, kinds Kinds) (*contents, error) {
	c := &contents{marks: map[string]time.Time{}}
	for number := 1; ; number++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return c, nil
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if err := c.apply(e, kinds); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		c.size += int64(len(line)) + 1
		data = rest
	}
}

func (c *contents) apply(e entry, kinds Kinds) error {
	switch e.Op {
	case "own":
		if e.Owner != nil {
			c.owner = *e.Owner
		}
		if c.created.IsZero() {
			c.created = e.Time
		}
	case "about":
		c.about = e.What
	case "mark":
		c.marks[e.Name] = e.Time
	case "make":
		r, err := kinds.decode(e.Kind, e.What)
		if err != nil {
			return err
		}
		c.resources = append(c.resources, &held{e.N, r})
		c.last = max(c.last, e.N)
	case "made":
		return c.update(e, kinds)
	case "gone":
		c.remove(e.N)
	default:
		return fmt.Errorf("unknown entry %q; it was written by a newer smartvm", e.Op)
	}
	return nil
}

func (c *contents) update(e entry, kinds Kinds) error {
	for _, h := range c.resources {
		if h.n != e.N {
			continue
		}
		r, err := kinds.decode(h.resource.Kind(), e.What)
		h.resource = r
		return err
	}
	return fmt.Errorf("resource %d was never recorded", e.N)
}

func (c *contents) remove(n int) {
	for i, h := range c.resources {
		if h.n == n {
			c.resources = append(c.resources[:i:i], c.resources[i+1:]...)
			return
		}
	}
}
