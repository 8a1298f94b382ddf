package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/netconfig"
)

// plainTable is a table whose only chain has a rule of nftables for each rule of a
// policy, which is how most would do it.
const plainTable = "plain"

// buffers lets a socket take 500 rules at once; with the kernel's default it fails.
func buffers[C interface {
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}](conn C) error {
	const size = 16 << 20
	if err := conn.SetReadBuffer(size); err != nil {
		return err
	}
	return conn.SetWriteBuffer(size)
}

// applyPlainly makes the table by google/nftables in one transaction.
func applyPlainly(p *netconfig.Policy) error {
	conn, err := nftables.New(nftables.WithSockOptions(buffers))
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: plainTable})
	chain := conn.AddChain(&nftables.Chain{Name: "egress", Table: table})
	for _, r := range p.Rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: plainRule(r)})
	}
	return conn.Flush()
}

// plainRule is what nft makes of a rule of [plainText].
func plainRule(r netconfig.Rule) []expr.Any {
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - r.To.Bits()))
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, // destination
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: r.To.Addr().AsSlice()},
	}
	protocols := map[netconfig.Protocol]byte{netconfig.TCP: unix.IPPROTO_TCP, netconfig.UDP: unix.IPPROTO_UDP}
	if number, ok := protocols[r.Protocol]; ok {
		exprs = append(exprs,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}})
	}
	if len(r.Ports) > 0 {
		exprs = append(exprs,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // destination port
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(r.Ports[0].First)})
	}
	verdicts := map[netconfig.Action]expr.VerdictKind{netconfig.Allow: expr.VerdictReturn, netconfig.Deny: expr.VerdictDrop}
	return append(exprs, &expr.Counter{}, &expr.Verdict{Kind: verdicts[r.Action]})
}

func removePlainTable() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: plainTable})
	return conn.Flush()
}

// plainText is the same table as nft reads it.
func plainText(p *netconfig.Policy) string {
	var text strings.Builder
	fmt.Fprintf(&text, "table inet %s {\n\tchain egress {\n", plainTable)
	for _, r := range p.Rules {
		fmt.Fprintf(&text, "\t\tip daddr %v", r.To.Prefix)
		switch {
		case len(r.Ports) > 0:
			fmt.Fprintf(&text, " %s dport %d", r.Protocol, r.Ports[0].First)
		case r.Protocol != netconfig.All:
			fmt.Fprintf(&text, " meta l4proto %s", r.Protocol)
		}
		verdicts := map[netconfig.Action]string{netconfig.Allow: "return", netconfig.Deny: "drop"}
		fmt.Fprintf(&text, " counter %s\n", verdicts[r.Action])
	}
	text.WriteString("\t}\n}\n")
	return text.String()
}

func applyByNft(ctx context.Context, text string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}
