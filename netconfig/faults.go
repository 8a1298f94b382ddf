package netconfig

import (
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// faults gathers the mistakes of a value. The code is that of the first one.
type faults struct {
	strict.Faults
	code errcode.Code
}

// of adds a mistake of a kind.
func (f *faults) of(code errcode.Code, field, format string, args ...any) {
	if f.code == "" {
		f.code = code
	}
	f.Add(field, format, args...)
}

// below adds the mistakes of a part, which field is the name of.
func (f *faults) below(field string, err error) {
	if err != nil && f.code == "" {
		f.code = errcode.Of(err, errcode.InvalidConfig)
	}
	f.AddAll(field, err)
}

func (f *faults) err(op string) error { return f.Err(f.code, op) }
