// Package acl changes what one user may do with a file, by the file's POSIX access
// control list, and nothing about what others may.
//
// A list is kept in the extended attribute system.posix_acl_access, in the format of
// the kernel's include/uapi/linux/posix_acl_xattr.h: a version, then an entry of 8
// bytes for the owner, for users, the owning group, groups, the mask and all others,
// in this order; acl(5) says what they mean.
package acl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Perm are the permissions of an entry.
type Perm uint16

// The permissions.
const (
	Execute Perm = 1 << iota
	Write
	Read

	all = Read | Write | Execute
)

// Tag says whom an entry is about. The numbers are those of linux/posix_acl.h, and in
// the order in which the kernel wants the entries.
type Tag uint16

// The tags.
const (
	Owner      Tag = 0x01
	User       Tag = 0x02
	OwnerGroup Tag = 0x04
	Group      Tag = 0x08
	Mask       Tag = 0x10
	Other      Tag = 0x20
)

// Entry is one line of a list.
type Entry struct {
	Tag  Tag
	Perm Perm
	ID   uint32 // of a user or group
}

// List is an access control list.
type List []Entry

const (
	version   = 2
	headSize  = 4
	entrySize = 8
	noID      = 1<<32 - 1 // what entries have that are about no single user or group
)

// OfMode returns the list that a file without one has by its mode.
func OfMode(mode fs.FileMode) List {
	return List{
		{Owner, Perm(mode>>6) & all, noID}, {OwnerGroup, Perm(mode>>3) & all, noID}, {Other, Perm(mode) & all, noID},
	}
}

// Parse reads the value of the attribute.
func Parse(data []byte) (List, error) {
	if len(data) < headSize || (len(data)-headSize)%entrySize != 0 {
		return nil, fmt.Errorf("an access control list has no %d bytes", len(data))
	}
	if got := binary.LittleEndian.Uint32(data); got != version {
		return nil, fmt.Errorf("the access control list has version %d, not %d", got, version)
	}
	var l List
	for entry := range slices.Chunk(data[headSize:], entrySize) {
		l = append(l, Entry{
			Tag: Tag(binary.LittleEndian.Uint16(entry)), Perm: Perm(binary.LittleEndian.Uint16(entry[2:])),
			ID: binary.LittleEndian.Uint32(entry[4:]),
		})
	}
	return l, l.check()
}

var errIncomplete = errors.New("the access control list lacks the owner, the group, all others, or a mask that it needs")

// check demands what the kernel does (fs/posix_acl.c, posix_acl_valid).
func (l List) check() error {
	count := map[Tag]int{}
	for _, e := range l {
		count[e.Tag]++
		if e.Perm&^all != 0 {
			return fmt.Errorf("the access control list has unknown permissions %#o", e.Perm)
		}
	}
	named := count[User] + count[Group]
	if count[Owner] != 1 || count[OwnerGroup] != 1 || count[Other] != 1 || count[Mask] > 1 || named > 0 && count[Mask] == 0 {
		return errIncomplete
	}
	if len(l) != 3+named+count[Mask] {
		return errors.New("the access control list has an unknown entry")
	}
	return nil
}

// Encode returns the value of the attribute.
func (l List) Encode() []byte {
	data := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range l {
		data = binary.LittleEndian.AppendUint16(data, uint16(e.Tag))
		data = binary.LittleEndian.AppendUint16(data, uint16(e.Perm))
		data = binary.LittleEndian.AppendUint32(data, e.ID)
	}
	return data
}

// Everybody returns what each user and group may do who has no entry, or one of the
// owning group only.
func (l List) Everybody() Perm {
	return l.find(Other, noID).Perm & l.find(OwnerGroup, noID).Perm & l.mask()
}

// Of returns what the entry of a user lets him do, and whether there is one.
func (l List) Of(uid uint32) (Perm, bool) {
	perm, named := l.Named(uid)
	return perm & l.mask(), named
}

// Named returns what the entry of a user says, whatever the mask leaves of it, and
// whether there is one.
func (l List) Named(uid uint32) (Perm, bool) {
	e := l.find(User, uid)
	return e.Perm, e.Tag == User
}

// Grant returns a list in which a user's entry is perm. What all others may do is the
// same in both.
func (l List) Grant(uid uint32, perm Perm) List {
	return append(l.without(uid), Entry{User, perm, uid}).normal()
}

// Revoke returns a list without the entry of a user. What all others may do is the
// same in both; if nobody is left who needs it, the list is no more than a mode.
func (l List) Revoke(uid uint32) List { return l.without(uid).normal() }

// without leaves out a user and the mask, whose effect the other entries then have.
func (l List) without(uid uint32) List {
	var out List
	mask := l.mask()
	for _, e := range l {
		switch {
		case e.Tag == Mask || e.Tag == User && e.ID == uid:
			continue
		case e.masked():
			e.Perm &= mask
		}
		out = append(out, e)
	}
	return out
}

// normal adds the mask that lets each entry have its effect, if there has to be one,
// and sorts.
func (l List) normal() List {
	var mask Perm
	named := false
	for _, e := range l {
		if e.masked() {
			mask |= e.Perm
		}
		named = named || e.Tag == User || e.Tag == Group
	}
	if named {
		l = append(l, Entry{Mask, mask, noID})
	}
	slices.SortStableFunc(l, func(a, b Entry) int {
		if a.Tag != b.Tag {
			return int(a.Tag) - int(b.Tag)
		}
		return int(int64(a.ID) - int64(b.ID))
	})
	return l
}

func (e Entry) masked() bool { return e.Tag == User || e.Tag == OwnerGroup || e.Tag == Group }

// mask returns what is left to the masked entries.
func (l List) mask() Perm {
	if e := l.find(Mask, noID); e.Tag == Mask {
		return e.Perm
	}
	return all
}

// find returns the zero value if there is no such entry.
func (l List) find(tag Tag, id uint32) Entry {
	for _, e := range l {
		if e.Tag == tag && (tag != User && tag != Group || e.ID == id) {
			return e
		}
	}
	return Entry{}
}
