package privdir

import (
	"errors"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
)

const (
	opOpen = "open directory"

	elsewhere = "choose another directory with SMARTVM_DATA_DIR or SMARTVM_RUNTIME_DIR"
)

// insecure is a component of a path that others control.
type insecure struct {
	path  string // the component
	why   string
	facts string // its owner and mode; empty where they do not matter
	euid  uint32
}

func (e *insecure) Error() string {
	if e.facts == "" {
		return e.path + " " + e.why
	}
	return e.path + " " + e.why + ": " + e.facts + ", this is uid " + strconv.FormatUint(uint64(e.euid), 10)
}

// failed gives an error its code; subject is the path that was asked for.
func failed(op, subject string, cause error) error {
	e := &errcode.Error{Code: errcode.DirectoryFailed, Op: op, Subject: subject, Err: cause}
	if open, ok := errors.AsType[*insecure](cause); ok {
		e.Code = errcode.InsecurePath
		e.Hint = "chown it or take the others' right to write with chmod go-w, or " + elsewhere
		e.Details = []errcode.Detail{{Field: "component", Message: open.path}}
		if open.facts != "" {
			e.Details = append(e.Details, errcode.Detail{Field: "state", Message: open.facts})
		}
		return e
	}
	e.Hint = hint(cause)
	return e
}

// hint says what to do about the ordinary reasons.
func hint(cause error) string {
	switch {
	case errors.Is(cause, syscall.EROFS), errors.Is(cause, fs.ErrPermission), errors.Is(cause, syscall.ENOTDIR):
		return elsewhere
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		return "free some room or inodes, or " + elsewhere
	case errors.Is(cause, syscall.ELOOP):
		return "a symbolic link leads to itself"
	default:
		return ""
	}
}
