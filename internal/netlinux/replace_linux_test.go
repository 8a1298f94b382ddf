package netlinux_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

func TestReplaceMakesWhatNftMakesOfTheSameText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		tables []ruleset.Table
	}{
		{"every field, match and statement", everything("tap0")},
		{"the plan of a network", plan(t).Tables},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				hosttest.Need(t, hosttest.Tool("nft"))
				ours, theirs := nettest.Host(t), nettest.NewNamespace(t)
				for _, n := range []*nettest.Namespace{ours, theirs} {
					n.AddTAP(t, "tap0")
					n.AddTAP(t, "tap1")
				}
				must(t, open(t).Replace(tt.tables))
				nft(t, theirs, texts(tt.tables), "-f", "-")
				got, want := nft(t, ours, "", "list", "ruleset"), nft(t, theirs, "", "list", "ruleset")
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("nft lists it otherwise (-of its own text +of Replace):\n%s", diff)
				}
			})
		})
	}
}
