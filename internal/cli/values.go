package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// wholeNumber is a flag with a number.
type wholeNumber int

// String implements pflag.Value.
func (n *wholeNumber) String() string { return strconv.Itoa(int(*n)) }

// Type implements pflag.Value.
func (*wholeNumber) Type() string { return "N" }

// Set implements pflag.Value.
func (n *wholeNumber) Set(text string) error {
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return errors.New("write a whole number")
	}
	*n = wholeNumber(v)
	return nil
}

// mebibytes is the flag --memory.
type mebibytes int

// String implements pflag.Value.
func (m *mebibytes) String() string {
	if *m == 0 {
		return ""
	}
	return strconv.Itoa(int(*m)) + "M"
}

// Type implements pflag.Value.
func (m *mebibytes) Type() string { return "SIZE" }

// Set implements pflag.Value.
func (m *mebibytes) Set(text string) error {
	number, unit := strings.TrimRight(text, "MGmgiBb"), 1
	switch strings.ToLower(text[len(number):]) {
	case "", "m", "mb", "mib":
	case "g", "gb", "gib":
		unit = 1024
	default:
		return errSize
	}
	n, err := strconv.ParseUint(number, 10, 24)
	if err != nil || n == 0 {
		return errSize
	}
	*m = mebibytes(int(n) * unit)
	return nil
}

var errSize = errors.New("write 512 or 512M for mebibytes, 2G for gibibytes")

// driveFlags are the flags --drive.
type driveFlags []driveFlag

type driveFlag struct {
	path, id                string
	readOnly, root, persist bool
}

// String implements pflag.Value.
func (*driveFlags) String() string { return "" }

// Type implements pflag.Value.
func (*driveFlags) Type() string { return "DRIVE" }

// Set implements pflag.Value.
func (d *driveFlags) Set(text string) error {
	path, rest, more := strings.Cut(text, ",")
	if path == "" {
		return errors.New("the path is missing")
	}
	drive := driveFlag{path: path}
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ",")
		if err := drive.set(option); err != nil {
			return err
		}
	}
	*d = append(*d, drive)
	return nil
}

func (d *driveFlag) set(option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	switch {
	case name == "id" && value != "":
		d.id = value
	case hasValue || option == "":
		return unknownOption(option)
	case name == "ro":
		d.readOnly = true
	case name == "root":
		d.root = true
	case name == "persist":
		d.persist = true
	default:
		return unknownOption(option)
	}
	return nil
}

func unknownOption(option string) error {
	return fmt.Errorf("%q is not an option of a drive: use ro, root, persist or id=NAME (a path with a comma needs a VM file)", option)
}

// addTo adds the drives; one that has the id of another takes its place.
func (d *driveFlags) addTo(config *vmconfig.Config) {
	taken := map[string]bool{}
	for _, there := range config.Drives {
		taken[there.DriveID] = true
	}
	for _, flag := range *d {
		drive := vmconfig.Drive{Drive: firecracker.Drive{
			DriveID: flag.id, PathOnHost: flag.path, IsRootDevice: flag.root, IsReadOnly: flag.readOnly,
		}}
		if flag.persist {
			drive.Ephemeral = new(false)
		}
		switch {
		case drive.DriveID != "":
		case drive.IsRootDevice && !taken["rootfs"]:
			drive.DriveID = "rootfs"
		default:
			drive.DriveID = freeID("drive", 1, taken)
		}
		taken[drive.DriveID] = true
		config.Drives = replaceDrive(config.Drives, drive)
	}
}

func replaceDrive(drives []vmconfig.Drive, drive vmconfig.Drive) []vmconfig.Drive {
	for i := range drives {
		if drives[i].DriveID == drive.DriveID {
			drives[i] = drive
			return drives
		}
	}
	return append(drives, drive)
}

// vsockFlag is the flag --vsock.
type vsockFlag struct {
	cid  uint32
	path string
}

// firstCID is the lowest that a guest can have.
const firstCID = 3

// String implements pflag.Value.
func (v *vsockFlag) String() string { return v.path }

// Type implements pflag.Value.
func (*vsockFlag) Type() string { return "[CID:]PATH" }

// Set implements pflag.Value.
func (v *vsockFlag) Set(text string) error {
	v.cid, v.path = firstCID, text
	if number, path, ok := strings.Cut(text, ":"); ok && !strings.Contains(number, "/") {
		cid, err := strconv.ParseUint(number, 10, 32)
		if err != nil || cid < firstCID {
			return fmt.Errorf("%q is not a CID: use a number from %d on", number, firstCID)
		}
		v.cid, v.path = uint32(cid), path
	}
	if v.path == "" {
		return errors.New("the path of the socket is missing")
	}
	return nil
}

// releaseVersion is the flag --firecracker-version.
type releaseVersion firecracker.Version

// String implements pflag.Value.
func (v *releaseVersion) String() string {
	if *v == (releaseVersion{}) {
		return ""
	}
	return firecracker.Version(*v).String()
}

// Type implements pflag.Value.
func (*releaseVersion) Type() string { return "VERSION" }

// Set implements pflag.Value.
func (v *releaseVersion) Set(text string) error {
	parsed, err := parseVersion(text)
	*v = releaseVersion(parsed)
	return err
}

// parseVersion reads the version of a release that people write.
func parseVersion(text string) (firecracker.Version, error) {
	v, err := firecracker.ParseVersion(text)
	if err == nil && v.IsZero() {
		err = fmt.Errorf("%q is not a Firecracker version such as v1.12.1", text)
	}
	return v, err
}
