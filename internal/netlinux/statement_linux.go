package netlinux

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

const (
	// logBurst is how many packets over its rate a limit lets through at once; nft's own.
	logBurst = 5

	tcpOptionMSS = 2 // RFC 9293, 3.1
)

// statement appends what a rule does.
func (c *compiler) statement(s ruleset.Statement) {
	switch s := s.(type) {
	case ruleset.Verdict:
		code, known := verdicts[s.Kind]
		if !known {
			c.fail("no such verdict: %q", s.Kind)
		}
		c.emit(&expr.Verdict{Kind: code, Chain: s.Chain})
	case ruleset.Counter:
		c.emit(&expr.Counter{})
	case ruleset.Log:
		if s.PerSecond > 0 {
			c.emit(&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(s.PerSecond), Unit: expr.LimitTimeSecond, Burst: logBurst})
		}
		c.emit(&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(s.Prefix)})
	case ruleset.VerdictMap:
		c.load(s.Key)
		c.emit(&expr.Lookup{SourceRegister: first, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT, SetName: s.Map})
	case ruleset.Masquerade:
		c.emit(&expr.Masq{})
	case ruleset.DNAT:
		c.load(s.Key)
		c.emit(
			&expr.Lookup{SourceRegister: first, IsDestRegSet: true, DestRegister: first, SetName: s.Map},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: first, RegProtoMin: register(1)},
		)
	case ruleset.SetMark:
		c.emit(
			&expr.Immediate{Register: first, Data: binary.NativeEndian.AppendUint32(nil, s.Mark)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: first},
		)
	case ruleset.ClampMSS:
		c.need(fieldsOf[ruleset.TCPFlags])
		c.emit(
			&expr.Rt{Register: first, Key: expr.RtTCPMSS},
			&expr.Byteorder{SourceRegister: first, DestRegister: first, Op: expr.ByteorderHton, Len: 2, Size: 2},
			&expr.Exthdr{SourceRegister: first, Type: tcpOptionMSS, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
		)
	default:
		c.fail("no such statement: %v", s)
	}
}

// expression appends an expression to the list of a rule.
func (t *transaction) expression(about subject, e expr.Any) {
	value, err := expr.Marshal(families[about.family], e)
	if err != nil {
		t.fail(about, err)
	}
	t.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, value...)
}
