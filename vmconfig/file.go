package vmconfig

import "github.com/smartvm/smartvm/internal/strict"

const opParse = "parse vm config"

// Parse reads a VM file. Text that begins with '{' is JSON, all else is YAML,
// of which anchors and merges work, but no tags, and with text such as Off and
// no taken as text.
//
// The error is INVALID_CONFIG, and its Details have every mistake with field
// and line: unknown keys at any level, keys that are set twice, values of the
// wrong type. Null is the same as leaving a key out, so that the answer of
// Firecracker's GET /vm/config is a VM file. What the values mean is checked by
// [Config.Validate].
func Parse(data []byte) (*Config, error) {
	out := new(Config)
	if err := decode(data, out, ""); err != nil {
		return nil, err
	}
	return out, nil
}

// Resolve puts the template, the content of the JSON file at Path, in the
// place of Path. The error is INVALID_CONFIG, with Details as of [Parse].
func (c *CPUConfig) Resolve(data []byte) error {
	var out CPUConfig
	if err := decode(data, &out.CPUConfig, "cpu-config"); err != nil {
		return err
	}
	*c = out
	return nil
}

// decode fills the zero value that to points to, which field is the name of.
func decode(data []byte, to any, field string) error {
	var f faults
	if n := strict.Read(&f.Faults, data); n != nil {
		strict.Decode(&f.Faults, n, to, field)
	}
	return f.err(opParse)
}
