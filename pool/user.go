package pool

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"

	"github.com/smartvm/smartvm/errcode"
)

// User is a user of this host.
type User struct {
	UID  int    `json:"uid"`
	Name string `json:"name"` // the number, if the user has no name
}

// maxUID is the last user id; above, the kernel has -1, which is nobody.
const maxUID = 1<<32 - 2

// ParseUser finds a user by name or number. A number need not have a name: such users
// are known to a directory service that a static program can't ask.
func ParseUser(text string) (User, error) {
	fail := func(err error) (User, error) {
		return User{}, &errcode.Error{
			Code: errcode.InvalidConfig, Op: "find user", Subject: text, Err: err, Hint: "write the name of a user of this host, or his number (id -u NAME)",
		}
	}
	found, err := user.Lookup(text)
	if err != nil {
		if _, numeric := strconv.ParseUint(text, 10, 32); numeric != nil {
			return fail(errors.New("there is no such user"))
		}
		if found, err = user.LookupId(text); err != nil {
			found = &user.User{Uid: text, Username: text}
		}
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil || uid < 0 || uid > maxUID {
		return fail(fmt.Errorf("%q is no user id", found.Uid))
	}
	u := User{UID: uid, Name: found.Username}
	return u, u.validate()
}

// Current returns the user that this process is.
func Current() User {
	id := strconv.Itoa(os.Geteuid())
	if found, err := user.LookupId(id); err == nil {
		return User{UID: os.Geteuid(), Name: found.Username}
	}
	return User{UID: os.Geteuid(), Name: id}
}

func (u User) validate() error {
	if u.UID == 0 {
		return &errcode.Error{
			Code: errcode.InvalidConfig, Op: "set up pool", Subject: u.Name, Err: errors.New("root needs none"), Hint: "name the user who is to run VMs without root",
		}
	}
	if u.UID < 0 || u.UID > maxUID {
		return &errcode.Error{Code: errcode.InvalidConfig, Op: "set up pool", Subject: u.Name, Err: fmt.Errorf("%d is no user id", u.UID)}
	}
	return nil
}

// plain are the names that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Command returns the command line by which an administrator makes, or repairs, the
// pool of this user. What it does not say stays as it is.
func (u User) Command() string {
	name := u.Name
	if !plain.MatchString(name) {
		name = u.key()
	}
	return "sudo smartvm setup --user " + name
}

// key names what belongs to the user's pool.
func (u User) key() string { return strconv.Itoa(u.UID) }

// bridge returns the name of the pool's bridge, at most 13 characters.
func (u User) bridge() string { return "svp" + u.key() }
