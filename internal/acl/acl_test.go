package acl_test

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/acl"
)

const (
	none = 1<<32 - 1
	rw   = acl.Read | acl.Write
)

func TestGrantAddsAUserAndRevokeGivesTheModeBack(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666, 0o640, 0o777, 0} {
		before := acl.OfMode(mode)
		granted := before.Grant(1000, rw)
		if perm, named := granted.Of(1000); perm != rw || !named {
			t.Errorf("%o: the user has %o, %t", mode, perm, named)
		}
		if diff := cmp.Diff(before, granted.Revoke(1000)); diff != "" {
			t.Errorf("%o: after grant and revoke:\n%s", mode, diff)
		}
	}
}

// A mask that is raised for the new user must not let the others have what it kept from them.
func TestGrantGivesNothingToOthers(t *testing.T) {
	t.Parallel()
	before := acl.List{
		{Tag: acl.Owner, Perm: rw, ID: none},
		{Tag: acl.User, Perm: rw, ID: 1},
		{Tag: acl.OwnerGroup, Perm: rw, ID: none},
		{Tag: acl.Group, Perm: rw, ID: 1},
		{Tag: acl.Mask, Perm: acl.Read, ID: none},
		{Tag: acl.Other, ID: none},
	}
	want := acl.List{
		{Tag: acl.Owner, Perm: rw, ID: none},
		{Tag: acl.User, Perm: acl.Read, ID: 1},
		{Tag: acl.User, Perm: rw, ID: 1000},
		{Tag: acl.OwnerGroup, Perm: acl.Read, ID: none},
		{Tag: acl.Group, Perm: acl.Read, ID: 1},
		{Tag: acl.Mask, Perm: rw, ID: none},
		{Tag: acl.Other, ID: none},
	}
	if diff := cmp.Diff(want, before.Grant(1000, rw)); diff != "" {
		t.Error(diff)
	}
}

func TestEverybodyIsWhatNobodyLacks(t *testing.T) {
	t.Parallel()
	for mode, want := range map[fs.FileMode]acl.Perm{0o666: rw, 0o660: 0, 0o606: 0, 0o664: acl.Read, 0o777: rw | acl.Execute} {
		if got := acl.OfMode(mode).Everybody(); got != want {
			t.Errorf("%o: %o, want %o", mode, got, want)
		}
	}
	masked := acl.OfMode(0o666).Grant(7, acl.Read)
	if got := masked.Everybody(); got != rw {
		t.Errorf("with another user's entry: %o", got)
	}
}

func TestDamagedListIsRefused(t *testing.T) {
	t.Parallel()
	good := acl.OfMode(0o600).Grant(1, rw).Encode()
	for name, data := range map[string][]byte{
		"empty": nil, "short": good[:len(good)-1], "without others": good[:len(good)-8],
		"version": append([]byte{3}, good[1:]...), "permissions": append([]byte{2, 0, 0, 0, 1, 0, 8}, good[7:]...),
		"tag": append([]byte{2, 0, 0, 0, 3}, good[5:]...),
	} {
		if l, err := acl.Parse(data); err == nil {
			t.Errorf("%s: got %v", name, l)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(acl.OfMode(0o640).Encode(), uint32(5))
	f.Add(acl.OfMode(0o600).Grant(1, rw).Grant(2, acl.Read).Encode(), uint32(1))
	f.Fuzz(func(t *testing.T, data []byte, uid uint32) {
		l, err := acl.Parse(data)
		if err != nil {
			return
		}
		if diff := cmp.Diff(data, l.Encode()); diff != "" {
			t.Fatalf("encoded again:\n%s", diff)
		}
		granted := l.Grant(uid, rw)
		if again, err := acl.Parse(granted.Encode()); err != nil || !cmp.Equal(granted, again) {
			t.Fatalf("granted: %v, %v", again, err)
		}
		if perm, named := granted.Of(uid); perm != rw || !named {
			t.Fatalf("the user has %o, %t", perm, named)
		}
		revoked := granted.Revoke(uid)
		for _, e := range l {
			if e.Tag != acl.User || e.ID == uid {
				continue
			}
			before, _ := l.Of(e.ID)
			for _, after := range []acl.List{granted, revoked} {
				if got, _ := after.Of(e.ID); got != before {
					t.Fatalf("user %d may %o, before %o", e.ID, got, before)
				}
			}
		}
		if l.Everybody() != granted.Everybody() || l.Everybody() != revoked.Everybody() {
			t.Fatalf("everybody: %o, then %o, then %o", l.Everybody(), granted.Everybody(), revoked.Everybody())
		}
	})
}
