package vmconfig

import (
	"fmt"

	"github.com/smartvm/smartvm/firecracker"
)

// call is a request with the field of the config that it comes from.
type call struct {
	field   string
	request firecracker.Request
}

// Requests returns what Firecracker is to be sent before the boot: one request
// for each thing that is set, in an order that it accepts, and nothing else.
// Keys of smartvm are not in them, nor is the logger (see [Config.LogArgs]) or
// the start itself.
//
// The config must have passed [Config.Validate]. Two things are the caller's to
// fill in before: an empty host_dev_name, and a CPU template that is still a
// path, for which there is no request.
func (c *Config) Requests() []firecracker.Request {
	calls := c.calls()
	out := make([]firecracker.Request, len(calls))
	for i := range calls {
		out[i] = calls[i].request
	}
	return out
}

// calls has the order. Metrics and serial come first, to miss nothing. A CPU
// template must follow the machine, whose PUT may clear it; a balloon must
// follow the memory that it is compared with; MMDS must follow its interfaces.
func (c *Config) calls() []call {
	var calls []call
	add := func(field string, r firecracker.Request) { calls = append(calls, call{field, r}) }
	if c.Metrics != nil {
		add("metrics", firecracker.PutMetrics(*c.Metrics))
	}
	if c.Serial != nil {
		add("serial", firecracker.PutSerial(*c.Serial))
	}
	if c.MachineConfig != nil {
		add("machine-config", firecracker.PutMachineConfig(*c.MachineConfig))
	}
	if c.CPUConfig != nil && c.CPUConfig.Path == "" {
		add("cpu-config", firecracker.PutCPUConfig(c.CPUConfig.CPUConfig))
	}
	add("boot-source", firecracker.PutBootSource(c.BootSource))
	for i, d := range c.Drives {
		add(fmt.Sprintf("drives[%d]", i), firecracker.PutDrive(d.Drive))
	}
	for i, p := range c.Pmem {
		add(fmt.Sprintf("pmem[%d]", i), firecracker.PutPmem(p))
	}
	for i, n := range c.NetworkInterfaces {
		add(fmt.Sprintf("network-interfaces[%d]", i), firecracker.PutNetworkInterface(n))
	}
	return append(calls, c.singleDeviceCalls()...)
}

func (c *Config) singleDeviceCalls() []call {
	var calls []call
	add := func(field string, r firecracker.Request) { calls = append(calls, call{field, r}) }
	if c.Vsock != nil {
		add("vsock", firecracker.PutVsock(*c.Vsock))
	}
	if c.Balloon != nil {
		add("balloon", firecracker.PutBalloon(*c.Balloon))
	}
	if c.Entropy != nil {
		add("entropy", firecracker.PutEntropy(*c.Entropy))
	}
	if c.MemoryHotplug != nil {
		add("memory-hotplug", firecracker.PutMemoryHotplug(*c.MemoryHotplug))
	}
	if c.MMDSConfig != nil {
		add("mmds-config", firecracker.PutMMDSConfig(*c.MMDSConfig))
	}
	if c.Metadata != nil {
		add("metadata", firecracker.PutMMDS(c.Metadata))
	}
	return calls
}

// LogArgs returns the logger as Firecracker's command line has it, where it
// also covers what happens before the first request. Nil when none is set.
func (c *Config) LogArgs() []string {
	l := c.Logger
	if l == nil {
		return nil
	}
	var args []string
	for _, option := range [][2]string{{"--log-path", l.LogPath}, {"--level", l.Level}, {"--module", l.Module}} {
		if option[1] != "" {
			args = append(args, option[0], option[1])
		}
	}
	if l.ShowLevel {
		args = append(args, "--show-level")
	}
	if l.ShowLogOrigin {
		args = append(args, "--show-log-origin")
	}
	return args
}
