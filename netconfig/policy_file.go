package netconfig

import (
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

const opParsePolicy = "parse egress policy"

// ParsePolicy reads and validates the file of a policy. Text that begins with '{' is
// JSON, all else is YAML:
//
//	default: deny
//	rules:
//	  - {action: allow, to: 1.1.1.1, protocol: udp, ports: [53], comment: resolver}
//	  - {action: deny, to: 10.0.0.0/8, log: true}
//	  - {action: allow, protocol: tcp, ports: [80, 443, 8000-8100]}
//
// The error is INVALID_FIREWALL_CONFIG, and its Details have every mistake, unknown keys
// and keys that are set twice included. Null is one, too: a value that was forgotten
// must not open what it was to narrow.
func ParsePolicy(data []byte) (*Policy, error) {
	var f strict.Faults
	out, err := decodePolicy(&f, strict.Read(&f, data))
	if err != nil {
		return nil, err
	}
	if err := out.Validate(); err != nil {
		return nil, err
	}
	return out, nil
}

// UnmarshalJSON is as strict as [ParsePolicy] about keys, since a key that is
// overlooked makes a rule wider, and leaves the rest to [Policy.Validate].
func (p *Policy) UnmarshalJSON(data []byte) error {
	var f strict.Faults
	parsed, err := decodePolicy(&f, strict.ReadJSON(&f, data))
	if err != nil {
		return err
	}
	*p = *parsed
	return nil
}

// decodePolicy takes the root of a document, or nil with the reason in f.
func decodePolicy(f *strict.Faults, root *strict.Node) (*Policy, error) {
	out := new(Policy)
	if root != nil {
		strict.DecodeFilled(f, root, out, "")
	}
	if err := f.Err(errcode.InvalidFirewallConfig, opParsePolicy); err != nil {
		return nil, err
	}
	return out, nil
}
