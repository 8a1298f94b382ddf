package netlinux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// refusal is why the kernel refused a message.
type refusal struct {
	about subject
	// expression is the name of the rule's expression that was refused, "" if another
	// part of the message was.
	expression string
	err        error
}

func (r *refusal) Error() string {
	if r.expression != "" {
		return fmt.Sprintf("%v: its expression %q: %v", r.about, r.expression, r.err)
	}
	return fmt.Sprintf("%v: %v", r.about, r.err)
}

func (r *refusal) Unwrap() error { return r.err }

// failure says what an answer means that is an error; nil if it is none. An answer
// about no message is about all of them.
func (t *transaction) failure(m answer) error {
	err := m.err()
	i := int(m.sequence) - 1
	if err == nil || i < 0 || i >= len(t.subjects) {
		return err
	}
	r := &refusal{about: t.subjects[i], err: err}
	if r.about.kind == kindRule {
		r.expression = t.expressionAt(r.about.at + m.offset())
	}
	return r
}

// expressionAt returns the name of the expression that begins there.
func (t *transaction) expressionAt(at int) string {
	for kind, value := range attributesOf(t.attributes[min(at, len(t.attributes)):]) {
		if kind == unix.NFTA_LIST_ELEM {
			return expressionName(value)
		}
		break
	}
	return ""
}

// expressionName returns the name in an expression's attributes.
func expressionName(e []byte) string { return textOf(attribute(e, unix.NFTA_EXPR_NAME)) }

// commit does a transaction; op says for whom.
func (h *Host) commit(op string, t *transaction) error {
	err := t.err
	if err == nil {
		err = h.nft.commit(t)
	}
	return h.nftFailed(op, "firewall rules", err)
}

// nftFailed is [failed] for nftables: what the kernel does not have at all is
// [errcode.HostUnsupported].
func (h *Host) nftFailed(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	code, advice := errcode.NetworkFailed, ""
	r, refused := errors.AsType[*refusal](err)
	switch {
	case refused:
		if module := r.missing(); module != "" {
			code, advice = errcode.HostUnsupported, "the kernel lacks it: modprobe "+module
		} else if r.about.device != "" && errors.Is(err, unix.ENOENT) {
			advice = "is there a link " + r.about.device + "?"
		}
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EAFNOSUPPORT):
		code, advice = errcode.HostUnsupported, "the kernel has no nftables: modprobe nf_tables"
	}
	err = failed(code, op, subject, err)
	if advice != "" {
		hint(err, advice)
	}
	return err
}

// missing returns the kernel module whose absence the refusal is about, "" if it is
// about something else.
func (r *refusal) missing() string {
	unsupported := errors.Is(r.err, unix.EOPNOTSUPP) || errors.Is(r.err, unix.EPROTONOSUPPORT) || errors.Is(r.err, unix.EAFNOSUPPORT)
	absent := errors.Is(r.err, unix.ENOENT)
	switch {
	case r.about.kind == kindTable && unsupported:
		return "nf_tables_" + string(r.about.family)
	case r.about.kind == kindChain && r.about.module != "" && (unsupported || absent):
		return r.about.module
	case r.about.kind == kindSet && unsupported:
		return "nf_tables"
	case r.expression == forwardName && (unsupported || absent):
		return "nft_fwd_netdev"
	case r.expression != "" && !core[r.expression] && (unsupported || absent):
		return "nft_" + r.expression
	}
	return ""
}

// core are expressions that every kernel with nftables has: when one of them is
// refused for something absent, that is a set or a chain.
var core = map[string]bool{
	"lookup": true, "immediate": true, "cmp": true, "bitwise": true, "byteorder": true, "payload": true, "meta": true, "rt": true,
	"counter": true, "range": true,
}
