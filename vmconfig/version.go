package vmconfig

import (
	"errors"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
)

// CheckVersion checks that Firecracker v has all that the config asks for. The
// error is UNSUPPORTED_VERSION, and its Details have every field, endpoint and
// value that is too new. An unknown (zero) version is not checked.
func (c *Config) CheckVersion(v firecracker.Version) error {
	if v.IsZero() {
		return nil
	}
	var f faults
	calls := c.calls()
	if c.Logger != nil {
		calls = append(calls, call{"logger", firecracker.PutLogger(*c.Logger)})
	}
	for _, each := range calls {
		if e, ok := errors.AsType[*errcode.Error](each.request.Check(v)); ok {
			for _, d := range e.Details {
				f.Add(strict.Join(each.field, d.Field), "%s", d.Message)
			}
		}
	}
	// v1.12.1 refuses the balloon: "huge pages support is incompatible with memory ballooning".
	if c.Balloon != nil && c.HugePages() && v.Compare(firecracker.Version{Major: 1, Minor: 14}) < 0 {
		f.Add("balloon", "together with huge_pages needs v1.14.0 or newer")
	}
	if len(f.Details) == 0 {
		return nil
	}
	return &errcode.Error{
		Code: errcode.UnsupportedVersion, Op: "check vm config", Details: f.Details,
		Hint: "this is Firecracker " + v.String(),
	}
}
