package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/vmconfig"
)

func TestLimitsAreAddedUpAndCountMoreThanTheFile(t *testing.T) {
	t.Parallel()
	var l limitFlag
	for _, text := range []string{"cpu=1.5,memory=1G", "pids=64", "weight=50"} {
		if err := l.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	config := &vmconfig.Config{Limits: &vmconfig.Limits{CPU: 4, IO: []vmconfig.IOLimit{{ReadBytesPerSecond: 1}}}}
	l.addTo(config)
	want := &vmconfig.Limits{CPU: 1.5, CPUWeight: 50, MemoryMiB: 1024, PIDs: 64, IO: []vmconfig.IOLimit{{ReadBytesPerSecond: 1}}}
	if diff := cmp.Diff(want, config.Limits); diff != "" {
		t.Error(diff)
	}
	without := &vmconfig.Config{}
	new(limitFlag).addTo(without)
	if without.Limits != nil {
		t.Errorf("no flag gives %+v", without.Limits)
	}
}

func TestLimitsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "cpu", "cpu=fast", "memory=lots", "pids=1.5", "weight=", "disk=1", "cpu=1,,pids=3"} {
		if err := new(limitFlag).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
