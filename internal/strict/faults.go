package strict

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// Faults gathers the mistakes of one value, so that all are told at once.
type Faults struct{ Details []errcode.Detail }

// Add adds a mistake of a field; "" is the whole.
func (f *Faults) Add(field, format string, args ...any) {
	f.Details = append(f.Details, errcode.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
}

// At adds a mistake with its line.
func (f *Faults) At(line int, field, format string, args ...any) {
	f.Add(field, "%s (line %d)", fmt.Sprintf(format, args...), line)
}

// AddAll adds the mistakes of a part, which field is the name of: the Details of
// err, or its text when it has none. There are none in nil.
func (f *Faults) AddAll(field string, err error) {
	if err == nil {
		return
	}
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || len(e.Details) == 0 {
		f.Add(field, "%v", err)
		return
	}
	for _, d := range e.Details {
		f.Add(Join(field, d.Field), "%s", d.Message)
	}
}

// Err returns nil when there is no mistake, and never a typed nil.
func (f *Faults) Err(code errcode.Code, op string) error {
	if len(f.Details) == 0 {
		return nil
	}
	return &errcode.Error{Code: code, Op: op, Details: f.Details}
}

// Join joins two parts of a field path, either of which may be empty. The second
// may be an index such as [3].
func Join(path, key string) string {
	if path == "" || key == "" || key[0] == '[' {
		return path + key
	}
	return path + "." + key
}

// plainKey needs no quotes in a field path.
var plainKey = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/_.-]*$`)

// keyField is a key as a part of a field path: quoted unless it is plain and short.
func keyField(path, key string) string {
	if len(key) > shownText || !plainKey.MatchString(key) {
		key = Quote(key)
	}
	return Join(path, key)
}

// shownText is how many bytes of a value an error shows.
const shownText = 64

// Quote shows text of any length and content on one line.
func Quote(text string) string {
	if len(text) > shownText {
		return fmt.Sprintf("%q...", strings.ToValidUTF8(text[:shownText], ""))
	}
	return fmt.Sprintf("%q", text)
}
