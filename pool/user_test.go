package pool_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/pool"
)

func TestUserIsFoundByNameAndNumber(t *testing.T) {
	t.Parallel()
	u, err := pool.ParseUser("1777000001")
	if err != nil || u != (pool.User{UID: 1777000001, Name: "1777000001"}) {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, text := range []string{"root", "0", "", "-1", "4294967295", "no such user", "1.5"} {
		if u, err := pool.ParseUser(text); errcode.Of(err, "") != errcode.InvalidConfig {
			t.Errorf("%q: got %+v, %v", text, u, err)
		}
	}
}

func TestCommandCanBeGivenToAShell(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"alice": "alice", "a.b-c_9": "a.b-c_9", "-x": "7", "a b": "7", "a;b": "7", "": "7"} {
		if got := (pool.User{UID: 7, Name: name}).Command(); !strings.HasSuffix(got, " --user "+want) {
			t.Errorf("%q: %s", name, got)
		}
	}
}
