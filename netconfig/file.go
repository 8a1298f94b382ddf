package netconfig

import (
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// Parse reads and validates a network file. Text that begins with '{' is JSON, all
// else is YAML:
//
//	bridge: svbr1
//	subnet: 172.31.0.0/24
//	allow_host: [{port: 53, protocol: udp}]
//	egress: {default: deny, rules: [{action: allow, to: 1.1.1.1}]}
//	wireguard: {existing: wg0}
//
// Every mistake is in the Details of the error, unknown keys included; null is one,
// since a value that was forgotten must not open what it was to narrow. The keys of a
// tunnel can't be in such a file: see [ParseWireGuard].
func Parse(data []byte) (*Config, error) {
	var f strict.Faults
	out := new(Config)
	if root := strict.Read(&f, data); root != nil {
		strict.DecodeFilled(&f, root, out, "")
	}
	if err := f.Err(errcode.InvalidConfig, "parse network file"); err != nil {
		return nil, err
	}
	if err := out.Validate(); err != nil {
		return nil, err
	}
	return out, nil
}
