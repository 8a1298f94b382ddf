package vmconfig

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/internal/strict"
)

// Numbers as Firecracker's CPU templates write them.
var (
	capability = regexp.MustCompile(`^!?[0-9]+$`)
	prefixed   = regexp.MustCompile(`^0(x[0-9a-fA-F]+|b[01]+)$`)
)

func (f *faults) cpuConfig(c *CPUConfig) {
	f.optionalPath("cpu-config", c.Path)
	if c.Path != "" && !reflect.ValueOf(c.CPUConfig).IsZero() {
		f.Add("cpu-config", "has both a path and a template")
	}
	x86 := len(c.CPUIDModifiers)+len(c.MSRModifiers) > 0
	if arm := len(c.RegModifiers)+len(c.VCPUFeatures) > 0; x86 && arm {
		f.Add("cpu-config", "has modifiers of both x86_64 and aarch64")
	}
	for i, text := range c.KVMCapabilities {
		if _, err := strconv.ParseUint(strings.TrimPrefix(text, "!"), 10, 32); err != nil || !capability.MatchString(text) {
			f.Add(fmt.Sprintf("cpu-config.kvm_capabilities[%d]", i), "%s is not a number such as 121 or !121", strict.Quote(text))
		}
	}
	for i, m := range c.CPUIDModifiers {
		field := fmt.Sprintf("cpu-config.cpuid_modifiers[%d]", i)
		f.number(field+".leaf", m.Leaf, 32)
		f.number(field+".subleaf", m.Subleaf, 32)
		f.between(field+".flags", m.Flags, 0, math.MaxUint32)
		for j, r := range m.Modifiers {
			field := fmt.Sprintf("%s.modifiers[%d]", field, j)
			f.register(field+".register", r.Register)
			f.bitmap(field+".bitmap", r.Bitmap, 32)
		}
	}
	for i, m := range c.MSRModifiers {
		field := fmt.Sprintf("cpu-config.msr_modifiers[%d]", i)
		f.number(field+".addr", m.Addr, 32)
		f.bitmap(field+".bitmap", m.Bitmap, 64)
	}
	for i, m := range c.RegModifiers {
		field := fmt.Sprintf("cpu-config.reg_modifiers[%d]", i)
		f.number(field+".addr", m.Addr, 64)
		f.bitmap(field+".bitmap", m.Bitmap, 128)
	}
	for i, m := range c.VCPUFeatures {
		field := fmt.Sprintf("cpu-config.vcpu_features[%d]", i)
		f.between(field+".index", m.Index, 0, math.MaxUint32)
		f.bitmap(field+".bitmap", m.Bitmap, 32)
	}
}

func (f *faults) register(field, name string) {
	if name == "" {
		f.Add(field, "is required")
	}
	f.oneOf(field, name, "eax", "ebx", "ecx", "edx")
}

func (f *faults) number(field, text string, size int) {
	if _, err := strconv.ParseUint(text, 0, size); err != nil || !prefixed.MatchString(text) {
		f.Add(field, "%s is not a number of %d bits such as 0x1 or 0b1", strict.Quote(text), size)
	}
}

// bitmap allows what Firecracker does: the prefix and leading bits may be left out.
func (f *faults) bitmap(field, text string, size int) {
	digits := strings.ReplaceAll(strings.TrimPrefix(text, "0b"), "_", "")
	if strings.Trim(digits, "01x") != "" {
		f.Add(field, "%s is not a bitmap: 0b and up to %d of 0, 1 and x, with _ between", strict.Quote(text), size)
	} else if len(digits) > size {
		f.Add(field, "has %d bits, at most %d are allowed", len(digits), size)
	}
}
