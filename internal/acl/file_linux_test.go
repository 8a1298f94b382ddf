package acl_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/acl"
)

func TestFileHasItsModeAgainAfterRevoke(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := acl.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	err = acl.Set(path, before.Grant(12345, rw))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the file system has no access control lists: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	granted, err := acl.Get(path)
	if perm, named := granted.Of(12345); err != nil || perm != rw || !named {
		t.Fatalf("got %v, %v", granted, err)
	}
	if err := acl.Set(path, granted.Revoke(12345)); err != nil {
		t.Fatal(err)
	}
	after, err := acl.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}
