package netlinux

import (
	"encoding/binary"
	"errors"
	"fmt"

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
	case ruleset.Write:
		c.write(s)
	case ruleset.Forward:
		c.emit(forward{iface: s.Iface})
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

// write appends the change of a field.
func (c *compiler) write(s ruleset.Write) {
	f, known := fieldsOf[s.Field]
	if !known {
		c.fail("no such field: %q", s.Field)
		return
	}
	to, is := f.load(first).(*expr.Payload)
	value := kernelValue(f, s.Value, false)
	if !is || value == nil {
		c.fail("no such change: %v", s)
		return
	}
	to.OperationType, to.SourceRegister, to.DestRegister = expr.PayloadWrite, first, 0
	if f.sum.offset != 0 {
		to.CsumType, to.CsumOffset = expr.CsumTypeInet, f.sum.offset
	}
	if f.sum.pseudo {
		to.CsumFlags = unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR
	}
	c.need(f)
	c.emit(&expr.Immediate{Register: first, Data: value}, to)
}

// forward sends a frame through a link. The library has no such expression; the
// interface is there so that it can stand among those that it has.
type forward struct {
	expr.Any

	iface string
}

const forwardName = "fwd"

// expression appends an expression to the list of a rule.
func (t *transaction) expression(about subject, e expr.Any) {
	if f, is := e.(forward); is {
		t.forward(about, f)
		return
	}
	value, err := expr.Marshal(families[about.family], e)
	if err != nil {
		t.fail(about, err)
	}
	t.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, value...)
}

// forward appends two expressions: the kernel wants the number of the link, in a
// register.
func (t *transaction) forward(about subject, f forward) {
	index, err := 0, errors.New("no rule here may send frames through a link")
	if t.links != nil {
		index, err = t.links(f.iface)
	}
	if err != nil {
		t.fail(about, fmt.Errorf("link %s: %w", f.iface, err))
		return
	}
	t.expression(about, &expr.Immediate{Register: first, Data: binary.NativeEndian.AppendUint32(nil, uint32(index))})
	element := t.begin(unix.NFTA_LIST_ELEM)
	t.text(unix.NFTA_EXPR_NAME, forwardName)
	data := t.begin(unix.NFTA_EXPR_DATA)
	t.number(unix.NFTA_FWD_SREG_DEV, first)
	t.end(data)
	t.end(element)
}
