package ruleset

// Statement is what a rule does.
type Statement interface {
	// String returns the statement as nft reads it.
	String() string
	statement()
}

// VerdictKind is how evaluation goes on.
type VerdictKind string

// The verdicts.
const (
	Accept VerdictKind = "accept" // ends this base chain; others may still drop
	Drop   VerdictKind = "drop"   // ends everything
	Return VerdictKind = "return" // goes on behind the rule that jumped here
	Jump   VerdictKind = "jump"
	Goto   VerdictKind = "goto"
)

// The statements.
type (
	// Verdict ends a rule.
	Verdict struct {
		Kind  VerdictKind
		Chain string // of Jump and Goto
	}
	// Counter counts packets and bytes.
	Counter struct{}
	// Log writes to the kernel's log, at most PerSecond packets a second. What is
	// above the limit goes on behind the statement, unlike with nft's own limit:
	// netlinux makes a rule of its own of it.
	Log struct {
		Prefix    string
		PerSecond int
	}
	// VerdictMap takes its verdict from a map; without an element nothing is done.
	VerdictMap struct {
		Key []Field
		Map string
	}
	// Masquerade makes the packet come from the address of the outgoing interface.
	Masquerade struct{}
	// DNAT sends the packet to the address and port that a map has for it.
	DNAT struct {
		Key []Field
		Map string
	}
	// SetMark sets the mark of the packet.
	SetMark struct{ Mark uint32 }
	// Write puts a value in the place of a field. Checksums that cover an address of IPv4
	// are made right, that of the quoted header in an ICMP error as well: there nft itself
	// would change the address only.
	Write struct {
		Field Field
		Value Value
	}
	// Forward sends the frame through another link, at once and as it is. It is for chains
	// at the ingress hook of a link, and ends them.
	Forward struct{ Iface string }
	// ClampMSS lowers the segment size of a TCP SYN to what the route can carry.
	ClampMSS struct{}
)

func (Verdict) statement()    {}
func (Counter) statement()    {}
func (Log) statement()        {}
func (VerdictMap) statement() {}
func (Masquerade) statement() {}
func (DNAT) statement()       {}
func (SetMark) statement()    {}
func (Write) statement()      {}
func (Forward) statement()    {}
func (ClampMSS) statement()   {}
