package claim_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/claim"
)

func TestDocumentListsTheClaimsOfAllReports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"claims-1.json": `{"claims":[{"contract":"S10.2","text":"c","test":"TestC","passed":true}],"firecracker":["v1.12.1"],"guests":["6.1"]}`,
		"claims-0.json": `{"claims":[{"contract":"S3.3, S3.9","text":"a","test":"TestA","passed":true}]}`, // the same, seen from elsewhere
		"claims-2.json": `{"claims":[{"contract":"S3.4","text":"b","test":"TestB","passed":true},{"contract":"S3.3, S3.9","text":"a","test":"TestA","passed":false}],
			"firecracker":["v1.12.1"],"kernels":["6.18"]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := claim.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []claim.Claim{{"S3.3, S3.9", "a", "TestA", true}, {"S3.4", "b", "TestB", true}, {"S10.2", "c", "TestC", true}}
	if diff := cmp.Diff(want, claim.ParseDocument(r.Document("here"))); diff != "" {
		t.Error(diff)
	}
	if failed := r.Failed(); len(failed) != 1 || failed[0].Text != "a" {
		t.Errorf("failed: %+v", failed)
	}
	if diff := cmp.Diff([][]string{{"v1.12.1"}, {"6.18"}, {"6.1"}}, [][]string{r.Firecracker, r.Kernels, r.Guests}); diff != "" {
		t.Error(diff)
	}
}

func TestRunWithoutClaimsIsNoProof(t *testing.T) {
	t.Parallel()
	if r, err := claim.Read(t.TempDir()); err == nil {
		t.Errorf("got %+v", r)
	}
}
