package errcode

import (
	"errors"
	"strings"
)

// Error tells what was tried, on what, why it failed and, where one is known,
// what to do about it. Its text is "op subject: cause (hint)".
type Error struct {
	Code    Code   // stable reason
	Op      string // what was tried, as in "start vm"
	Subject string // on what: an id, a path, a field
	Hint    string // what to do about it; "" when nothing is known

	// StatusCode is the HTTP status of Firecracker's answer, 0 where there was none.
	StatusCode int
	// Details are the single mistakes of a rejected value, or facts behind the failure.
	Details []Detail
	// Err is the cause; nil when the code says it all.
	Err error
}

// Detail is one mistake or fact: which field, and what about it.
type Detail struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// String returns "field: message".
func (d Detail) String() string {
	if d.Field == "" {
		return d.Message
	}
	return d.Field + ": " + d.Message
}

// Error returns "op subject: cause (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		b.WriteString(" " + e.Subject)
	}
	b.WriteString(": " + e.cause())
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

func (e *Error) cause() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	if len(e.Details) == 0 {
		return strings.ReplaceAll(strings.ToLower(string(e.Code)), "_", " ")
	}
	texts := make([]string, len(e.Details))
	for i, d := range e.Details {
		texts[i] = d.String()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this error's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// Of returns the code of the outermost [Error] in err's tree, or fallback when
// there is none. A boundary uses it to keep the more precise code from inside.
func Of(err error, fallback Code) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return fallback
}
