// Package verdict has the words in which a process or a host is judged.
package verdict

// Status is the outcome of one look.
type Status string

// The outcomes. What could not be read is never OK.
const (
	OK      Status = "ok"
	Weak    Status = "weak"
	Unknown Status = "unknown"
)
