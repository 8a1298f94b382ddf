package netconfig

import (
	"regexp"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// MaxInterfaceName is how many bytes the name of a network interface can have
// (IFNAMSIZ without the closing zero byte).
const MaxInterfaceName = 15

// CheckInterfaceName checks the name of a network interface as the kernel does
// (dev_valid_name). It refuses '%' as well, which is a pattern: the kernel makes tap0
// when it is told "tap%d". The error is INVALID_INTERFACE_NAME.
func CheckInterfaceName(name string) error {
	var f faults
	switch illegal := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/:%", r) }; {
	case name == "":
		f.Add("", "the name of the interface is missing")
	case len(name) > MaxInterfaceName:
		f.Add("", "%s has %d bytes, at most %d are allowed", strict.Quote(name), len(name), MaxInterfaceName)
	case name == "." || name == ".." || strings.ContainsFunc(name, illegal):
		f.Add("", "%s can't be the name of an interface", strict.Quote(name))
	}
	return f.Err(errcode.InvalidInterfaceName, "check interface name")
}

// plainName is a name that needs no quotes in a shell, in nftables' language and as
// the name of a directory, and that no such directory of smartvm's own has.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// checkOwnInterface checks the name of an interface that smartvm makes.
func checkOwnInterface(name string) error {
	if err := CheckInterfaceName(name); err != nil {
		return err
	}
	var f faults
	switch name {
	case "lo":
		f.Add("", "%s is the loopback interface", strict.Quote(name))
	case "all", "default": // the kernel refuses them, too: net.ipv4.conf.all is every interface
		f.Add("", "%s stands for every interface among the kernel's settings", strict.Quote(name))
	default:
		if !plainName.MatchString(name) {
			f.Add("", "%s is not made of letters, digits, '_', '.' and '-', or begins with one of the last two", strict.Quote(name))
		}
	}
	return f.Err(errcode.InvalidInterfaceName, "check interface name")
}
