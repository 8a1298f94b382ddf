package netlinux

import "github.com/smartvm/smartvm/internal/ruleset"

// TableInfo is a table of some smartvm.
type TableInfo struct {
	Family  ruleset.Family
	Name    string
	Comment string
}

// Count is what an element of a set has counted.
type Count struct{ Packets, Bytes uint64 }
