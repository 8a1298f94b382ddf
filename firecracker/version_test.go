package firecracker_test

import (
	"encoding/json"
	"testing"

	"github.com/smartvm/smartvm/firecracker"
)

func TestVersionIsTextInJSON(t *testing.T) {
	t.Parallel()
	type file struct {
		Version firecracker.Version `json:"version"`
	}
	for _, want := range []string{`{"version":"v1.12.1"}`, `{"version":"v0.0.1"}`, `{"version":""}`} {
		var f file
		if err := json.Unmarshal([]byte(want), &f); err != nil {
			t.Error(err)
			continue
		}
		if got, err := json.Marshal(f); err != nil || string(got) != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
	for _, text := range []string{`"1.12.1"`, `"v1.12"`, `"v01.12.1"`, `"v1.12.1-dev"`, `"v1.12.+1"`, `" "`, `{"Major":1}`} {
		if err := json.Unmarshal([]byte(`{"version":`+text+`}`), new(file)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}
