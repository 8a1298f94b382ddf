package ruleset

// Family is an nftables address family.
type Family string

// The families in use. Netdev chains see the frames of one device before
// anything else does; inet chains see packets.
const (
	Inet   Family = "inet"
	IP     Family = "ip"
	Netdev Family = "netdev"
)

// Table is a table with all that is in it.
type Table struct {
	Family  Family
	Name    string
	Comment string
	Sets    []Set
	Chains  []Chain
}

// Set is a named set or map.
type Set struct {
	Name string
	// Key has one field, or several for a concatenation.
	Key []Field
	// Data is what a map maps to, one field or several. Nil is a set, or a verdict map.
	Data     []Field
	Verdicts bool // a verdict map
	Interval bool // elements may be ranges
	Counter  bool // each element counts its hits
	Comment  string
	Elements []Element
}

// Element is an element of a set or map.
type Element struct {
	Key     []Range // one for each field of the key
	Data    []Value // one for each field of the data
	Verdict *Verdict
	Comment string
}

// Chain is a chain. A base chain has a Hook; for others Hook is nil.
type Chain struct {
	Name    string
	Hook    *Hook
	Comment string // printed only; the kernel does not keep it
	Rules   []Rule
}

// Hook is where a base chain is called from.
type Hook struct {
	Type     string // filter, nat, route
	Point    string // prerouting, input, forward, output, postrouting, ingress
	Device   string // with ingress
	Priority int
	Drop     bool // the policy
}

// Rule is a list of matches, all of which must hold, and what is done then, in order.
type Rule struct {
	Match   []Match
	Do      []Statement
	Comment string
}
