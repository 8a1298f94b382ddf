package hardening

import (
	"slices"
	"strings"
)

// vulnerabilities is documented in Documentation/admin-guide/hw-vuln of the kernel.
const vulnerabilities = "/sys/devices/system/cpu/vulnerabilities"

var processor = []check{
	{
		name: "vulnerabilities", severity: Must, look: checkVulnerabilities,
		why: "a guest could read the memory of others through flaws of the processor",
	},
	{
		name: "mitigations", severity: Must, look: checkMitigations,
		why: "mitigations that are switched off for guests alone are not in the list of vulnerabilities",
	},
	{
		name: "microcode", severity: Must, look: checkMicrocode, arch: "amd64",
		why: "mitigations of the kernel need those of the processor",
	},
	{
		name: "smt", severity: Should, look: checkSMT,
		why: "two guests on the threads of one core can observe each other through its caches and buffers",
	},
	{
		name: "bare metal", severity: Info, look: checkHypervisor, arch: "amd64",
		why: "in a virtual machine the host below decides on SMT, microcode, page sharing and swap",
	},
	{
		name: "ecc memory", severity: Should, look: checkECC,
		why: "without error correction, a guest may flip bits of others by hammering rows of memory",
	},
	{
		name: "time source", severity: Should, look: checkClock,
		why: "the guest's clock follows the host's; a slow source costs each look at it an exit",
	},
}

func checkVulnerabilities(l *look) {
	names, ok := l.names(vulnerabilities)
	if !ok {
		return
	}
	var open, unclear []string
	for _, name := range names {
		text, ok := l.read(vulnerabilities + "/" + name)
		switch {
		case !ok:
			unclear = append(unclear, name+": can't be read")
		case strings.Contains(strings.ToLower(text), "vulnerable"): // also "Mitigation: ...; SMT vulnerable"
			open = append(open, name+": "+text)
		case !strings.Contains(text, "Mitigation") && text != "Not affected", strings.Contains(text, "unknown"): // "SMT Host state unknown"
			unclear = append(unclear, name+": "+text)
		}
	}
	switch {
	case len(open) > 0:
		l.weak("update kernel and microcode; boot with mitigations=auto,nosmt, and without options that switch mitigations off",
			"%d of %d: %s", len(open), len(names), strings.Join(open, "; "))
	case len(unclear) > 0:
		l.unknown("%d of %d are unclear: %s", len(unclear), len(names), strings.Join(unclear, "; "))
	case len(names) == 0:
		l.unknown("the kernel lists none")
	default:
		l.ok("%d known to the kernel, none open", len(names))
	}
}

// checkMitigations looks for all mitigations off, and for those that protect from
// guests: attack vector controls, since Linux 6.17. Options of one vulnerability show in the list of these.
func checkMitigations(l *look) {
	words, ok := l.commandLine("mitigations=")
	if !ok {
		return
	}
	for _, word := range words {
		values := strings.Split(strings.TrimPrefix(word, "mitigations="), ",")
		for _, off := range []string{"off", "no_guest_host", "no_guest_guest", "no_cross_thread"} {
			if slices.Contains(values, off) {
				l.weak("take it off the kernel's command line, or boot with mitigations=auto,nosmt", "%s switches off what protects from guests", word)
				return
			}
		}
	}
	l.ok("none is switched off as a whole")
}

// commandLine returns the words of the kernel's command line that begin with one of
// the prefixes. The others may be secrets, and are not shown.
func (l *look) commandLine(prefixes ...string) ([]string, bool) {
	const path = "/proc/cmdline"
	text, ok := l.readPrivately(path)
	if !ok {
		return nil, false
	}
	words := []string{}
	for word := range strings.FieldsSeq(text) {
		if word == "--" { // what follows is for init
			break
		}
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(word, p) }) {
			words = append(words, word)
		}
	}
	l.note(path, strings.Join(words, " "))
	return words, true
}

func checkMicrocode(l *look) {
	revisions, ok := l.processorLines("microcode")
	if !ok {
		return
	}
	l.note(processorList, "microcode: "+strings.Join(revisions, ", "))
	old, known := l.maybe(vulnerabilities + "/old_microcode") // since Linux 6.16
	const fix = "install the distribution's microcode package (intel-microcode, amd64-microcode) and reboot"
	switch {
	case len(revisions) == 0:
		l.unknown("the processor tells of none")
	case l.isVirtual(): // whose revision is whatever the hypervisor says, and not for this host to mend
		l.finding.Severity = Should
		l.unknown("%s is what the hypervisor says", strings.Join(revisions, ", "))
		l.finding.Fix = "see to it on the machine below, or use bare metal"
	case len(revisions) > 1:
		l.weak(fix, "processors have different ones: %s", strings.Join(revisions, ", "))
	case known && strings.HasPrefix(old, "Not affected"):
		l.ok("%s, and the kernel knows of no newer one", revisions[0])
	case known && strings.HasPrefix(old, "Vulnerable"):
		l.weak(fix, "%s is older than what the kernel knows of", revisions[0])
	default:
		l.unknown("%s; this kernel can't tell whether it is the latest", revisions[0])
		l.finding.Fix = "compare it with the vendor's latest"
	}
}

const processorList = "/proc/cpuinfo"

// processorLines returns the different values of a key in /proc/cpuinfo.
func (l *look) processorLines(key string) ([]string, bool) {
	text, ok := l.readPrivately(processorList)
	if !ok {
		return nil, false
	}
	var values []string
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if found && strings.TrimSpace(name) == key && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values, true
}

func checkSMT(l *look) {
	state, ok := l.read("/sys/devices/system/cpu/smt/control")
	if !ok {
		return
	}
	switch {
	case state == "off", state == "forceoff":
		l.ok("it is off")
	case state == "notsupported" && l.isVirtual():
		l.unknown("a virtual machine is not told whether it shares cores")
		l.finding.Fix = "see to it on the machine below, or use bare metal"
	case state == "notsupported":
		l.ok("the processor has none")
	case state == "on":
		l.weak("boot with nosmt, or: echo off > /sys/devices/system/cpu/smt/control", "it is on")
	default:
		l.unknown("the kernel says %q", state)
	}
}

func checkHypervisor(l *look) {
	flags, ok := l.flags()
	switch {
	case !ok:
	case len(flags) == 0:
		l.unknown("the processor tells no flags")
	case slices.Contains(flags, hypervisorFlag):
		l.unknown("this host is a virtual machine: what is below it can't be seen from here")
		l.finding.Fix = "check the machine below as well, or use bare metal"
	default:
		l.ok("no hypervisor is below this host")
	}
}

// hypervisorFlag is the flag that hypervisors set in CPUID for their guests.
const hypervisorFlag = "hypervisor"

// flags returns those of the processor, and notes only the one that matters here.
func (l *look) flags() ([]string, bool) {
	lists, ok := l.processorLines("flags")
	if !ok {
		return nil, false
	}
	flags := strings.Fields(strings.Join(lists, " "))
	note := "flags: without " + hypervisorFlag
	if slices.Contains(flags, hypervisorFlag) {
		note = "flags: " + hypervisorFlag
	}
	l.note(processorList, note)
	return flags, true
}

// isVirtual reports whether the processor says that this is a virtual machine.
func (l *look) isVirtual() bool {
	flags, ok := l.flags()
	return ok && slices.Contains(flags, hypervisorFlag)
}

func checkECC(l *look) {
	const dir = "/sys/devices/system/edac/mc"
	names, ok := l.names(dir)
	if !ok {
		return
	}
	for _, name := range names {
		if rest, found := strings.CutPrefix(name, "mc"); found && rest != "" {
			l.note(dir, strings.Join(names, " "))
			l.ok("the memory controller corrects errors")
			return
		}
	}
	l.unknown("no memory controller reports to the kernel")
	l.finding.Fix = "see that the memory has ECC and row refresh against Rowhammer, and load its EDAC driver"
}

func checkClock(l *look) {
	source, ok := l.read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if !ok {
		return
	}
	switch source {
	case "tsc", "arch_sys_counter", "kvm-clock":
		l.ok("%s", source)
	default:
		l.weak("boot with clocksource=tsc, if dmesg does not say why the kernel has given it up", "%s", source)
	}
}
