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

func (a *app) imageVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [ID...]",
		Short: "Read images from the disk and compare them with their hashes",
		Long: `Read images, by default all, from the disk and compare them with the hashes that
they came with. A line says how each is. The exit code is 1 when one is damaged.
Nothing is repaired: image pull ID does that.`,
		Example: `  smartvm image verify
  smartvm image verify web-v3 --json`,
		Args:              anyIDs,
		ValidArgsFunction: a.completeImages(0, cobra.ShellCompDirectiveNoFileComp),
		RunE:              a.with(a.verifyImages),
	}
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "print a list of objects")
	return cmd
}

// imageVerdict is what image verify prints about one image.
type imageVerdict struct {
	ID      string           `json:"id"`
	Damaged []errcode.Detail `json:"damaged,omitempty"`
}

func (a *app) verifyImages(ctx context.Context, m *smartvm.Manager, ids []string) error {
	if len(ids) == 0 {
		images, err := m.BaseImages().List(ctx)
		if err != nil {
			return err
		}
		for i := range images {
			ids = append(ids, images[i].ID)
		}
	}
	slices.Sort(ids)
	verdicts := []imageVerdict{}
	var damaged []string
	var errs []error
	for _, id := range slices.Compact(ids) {
		v, err := verifyImage(ctx, m, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(v.Damaged) > 0 {
			damaged = append(damaged, id)
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
			Code: errcode.BaseImageDamaged, Op: "verify images", Err: errors.New("damaged: " + strings.Join(damaged, ", ")),
			Hint: fmt.Sprintf("smartvm image pull %s fetches what is damaged again", damaged[0]),
		})
	}
	return errors.Join(errs...)
}

func verifyImage(ctx context.Context, m *smartvm.Manager, id string) (imageVerdict, error) {
	v := imageVerdict{ID: id}
	err := m.BaseImages().Verify(ctx, id)
	e, ok := errors.AsType[*smartvm.Error](err)
	if !ok || e.Code != errcode.BaseImageDamaged {
		return v, err
	}
	v.Damaged = e.Details
	if len(v.Damaged) == 0 {
		v.Damaged = []errcode.Detail{{Message: causeOf(e).Error()}}
	}
	return v, nil
}

// String returns a line: "web-v3: ok", or what is damaged.
func (v imageVerdict) String() string {
	if len(v.Damaged) == 0 {
		return v.ID + ": ok\n"
	}
	texts := make([]string, len(v.Damaged))
	for i, d := range v.Damaged {
		texts[i] = strings.ReplaceAll(d.String(), "\n", "; ")
	}
	return v.ID + ": damaged: " + strings.Join(texts, "; ") + "\n"
}
