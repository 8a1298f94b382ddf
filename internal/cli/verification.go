package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

// verification reads things of one kind from the disk, and says of each how it is.
type verification struct {
	op      string       // "verify images"
	damaged errcode.Code // of the error about one that is
	hint    func(name string) string
	verify  func(ctx context.Context, name string) error
	// object is what --json prints about one.
	object func(name string, damaged []errcode.Detail) any
}

func (a *app) verify(ctx context.Context, names []string, v verification) error {
	slices.Sort(names)
	objects := []any{}
	var damaged []string
	var errs []error
	for _, name := range slices.Compact(names) {
		faults, err := v.look(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(faults) > 0 {
			damaged = append(damaged, name)
		}
		objects = append(objects, v.object(name, faults))
		if !a.asJSON {
			errs = append(errs, a.print(verdictLine(name, faults)))
		}
	}
	if a.asJSON {
		errs = append(errs, a.printJSON(objects))
	}
	if len(damaged) > 0 {
		errs = append(errs, &smartvm.Error{
			Code: v.damaged, Op: v.op, Err: errors.New("damaged: " + strings.Join(damaged, ", ")), Hint: v.hint(damaged[0]),
		})
	}
	return errors.Join(errs...)
}

// look returns what is damaged.
func (v verification) look(ctx context.Context, name string) ([]errcode.Detail, error) {
	err := v.verify(ctx, name)
	e, ok := errors.AsType[*smartvm.Error](err)
	if !ok || e.Code != v.damaged {
		return nil, err
	}
	if len(e.Details) == 0 {
		return []errcode.Detail{{Message: causeOf(e).Error()}}, nil
	}
	return e.Details, nil
}

// verdictLine is a line such as "web-v3: ok", or says what is damaged.
func verdictLine(name string, damaged []errcode.Detail) string {
	if len(damaged) == 0 {
		return name + ": ok\n"
	}
	texts := make([]string, len(damaged))
	for i, d := range damaged {
		texts[i] = strings.ReplaceAll(d.String(), "\n", "; ")
	}
	return name + ": damaged: " + strings.Join(texts, "; ") + "\n"
}
