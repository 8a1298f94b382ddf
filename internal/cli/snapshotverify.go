package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

func (a *app) snapshotVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [SNAPSHOT...]",
		Short: "Read snapshots from the disk and compare them with their hashes",
		Long: `Read snapshots, by default all, from the disk and compare them with their hashes. A
line says how each is. The exit code is 1 when one is damaged.

A snapshot is taken without hashes of its memory and disks, since these would take
longer than all the rest. The first verify makes them, of files that nobody has
changed since. From then on a snapshot survives that its files are copied to
another disk: verify proves that they are the same.`,
		Example: `  smartvm snapshot verify
  smartvm snapshot verify warm --json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeSnapshots(0),
		RunE:              a.with(a.verifySnapshots),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

// snapshotVerdict is what snapshot verify prints about one snapshot.
type snapshotVerdict struct {
	Name    string           `json:"name"`
	Damaged []errcode.Detail `json:"damaged,omitempty"`
}

func (a *app) verifySnapshots(ctx context.Context, m *smartvm.Manager, names []string) error {
	if len(names) == 0 {
		all, err := m.Snapshots().List()
		if err != nil {
			return err
		}
		for _, s := range all {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	verdicts := []snapshotVerdict{}
	var damaged []string
	var errs []error
	for _, name := range slices.Compact(names) {
		v, err := verifySnapshot(ctx, m, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(v.Damaged) > 0 {
			damaged = append(damaged, name)
		}
		verdicts = append(verdicts, v)
		if !a.asJSON {
			errs = append(errs, a.print(v.String()))
		}
	}
	if a.asJSON {
		errs = append(errs, a.printJSON(verdicts))
	}
	if len(damaged) > 0 {
		errs = append(errs, &smartvm.Error{
			Code: errcode.InvalidSnapshot, Op: "verify snapshots", Err: errors.New("damaged: " + strings.Join(damaged, ", ")),
			Hint: fmt.Sprintf("put shared drives back, or import it again: smartvm snapshot rm %s", damaged[0]),
		})
	}
	return errors.Join(errs...)
}

func verifySnapshot(ctx context.Context, m *smartvm.Manager, name string) (snapshotVerdict, error) {
	v := snapshotVerdict{Name: name}
	_, err := m.Snapshots().Verify(ctx, name)
	e, ok := errors.AsType[*smartvm.Error](err)
	if !ok || e.Code != errcode.InvalidSnapshot {
		return v, err
	}
	v.Damaged = e.Details
	if len(v.Damaged) == 0 {
		v.Damaged = []errcode.Detail{{Message: causeOf(e).Error()}}
	}
	return v, nil
}

// String returns a line: "warm: ok", or what is damaged.
func (v snapshotVerdict) String() string {
	if len(v.Damaged) == 0 {
		return v.Name + ": ok\n"
	}
	texts := make([]string, len(v.Damaged))
	for i, d := range v.Damaged {
		texts[i] = strings.ReplaceAll(d.String(), "\n", "; ")
	}
	return v.Name + ": damaged: " + strings.Join(texts, "; ") + "\n"
}
