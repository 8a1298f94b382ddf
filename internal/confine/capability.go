package confine

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Capabilities are the sets of a thread, see capabilities(7): names such as
// CAP_NET_ADMIN in the order of their numbers.
type Capabilities struct {
	Permitted   []string `json:"permitted"`
	Effective   []string `json:"effective"`
	Inheritable []string `json:"inheritable"`
	Ambient     []string `json:"ambient"`
	// Bounding bounds what an executed program can get; with no_new_privs none can get any.
	Bounding []string `json:"bounding"`
}

// Usable returns those of all sets that it has, or can get without the help of a
// program with rights of its own.
func (c *Capabilities) Usable() []string {
	set := map[string]bool{}
	for _, names := range [][]string{c.Permitted, c.Effective, c.Ambient} {
		for _, name := range names {
			set[name] = true
		}
	}
	var usable []string
	for i := range len(capabilityNames) + unnamedCapabilities {
		if name := capabilityName(i); set[name] {
			usable = append(usable, name)
		}
	}
	return usable
}

// unnamedCapabilities have numbers and, for this program, no names yet.
const unnamedCapabilities = 64 - 41

func parseCapabilities(fields map[string]string) (c Capabilities, err error) {
	for _, set := range []struct {
		key   string
		names *[]string
	}{
		{"CapPrm", &c.Permitted}, {"CapEff", &c.Effective}, {"CapInh", &c.Inheritable}, {"CapAmb", &c.Ambient}, {"CapBnd", &c.Bounding},
	} {
		mask, err := strconv.ParseUint(fields[set.key], 16, 64)
		if err != nil {
			return c, fmt.Errorf("%w: %s is %q", errStatus, set.key, fields[set.key])
		}
		*set.names = namesOf(mask)
	}
	return c, nil
}

func namesOf(mask uint64) []string {
	names := make([]string, 0, bits.OnesCount64(mask))
	for ; mask != 0; mask &= mask - 1 {
		names = append(names, capabilityName(bits.TrailingZeros64(mask)))
	}
	return names
}

func capabilityName(number int) string {
	if number < len(capabilityNames) {
		return "CAP_" + capabilityNames[number]
	}
	return "CAP_" + strconv.Itoa(number)
}

// capabilityNames are those of the kernel's include/uapi/linux/capability.h, by number.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}
