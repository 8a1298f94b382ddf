package netplan

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// span is what a rule matches: a box of addresses, protocols and ports.
type span struct {
	low                   uint32 // the prefix of the addresses
	bits                  int
	firstProto, lastProto uint8
	ports                 []netconfig.PortRange // in order and disjoint; nil: no matter which
}

// spanOf is for a rule in its normal form.
func spanOf(r netconfig.Rule) span {
	s := span{lastProto: protoLast}
	if r.To.IsValid() {
		addr := r.To.Masked().Addr().As4()
		s.low, s.bits = binary.BigEndian.Uint32(addr[:]), r.To.Bits()
	}
	if r.Protocol != netconfig.All && r.Protocol != "" {
		s.firstProto = number(r.Protocol)
		s.lastProto = s.firstProto
	}
	if len(r.Ports) > 0 {
		s.ports = r.Ports
	}
	return s
}

// key returns the ranges of addresses and of protocols. They share one piece of
// memory, as there are thousands.
func (s *span) key() []ruleset.Range {
	high := s.low | uint32(uint64(math.MaxUint32)>>s.bits)
	v := binary.BigEndian.AppendUint32(make([]byte, 0, 10), s.low)
	v = binary.BigEndian.AppendUint32(v, high)
	v = append(v, s.firstProto, s.lastProto)
	return []ruleset.Range{{Min: v[0:4:4], Max: v[4:8:8]}, {Min: v[8:9:9], Max: v[9:10:10]}}
}

// meets reports whether spans whose addresses overlap do so altogether.
func (s *span) meets(t *span) bool {
	return s.firstProto <= t.lastProto && t.firstProto <= s.lastProto && portsMeet(s.ports, t.ports)
}

func portsMeet(a, b []netconfig.PortRange) bool {
	if a == nil || b == nil {
		return true
	}
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].Last < b[0].First:
			a = a[1:]
		case b[0].Last < a[0].First:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

// layersOf returns the layer of each span, from 1: behind those of all earlier
// spans that it overlaps.
func layersOf(spans []span) []int {
	t := tree{spans: spans, layers: make([]int, len(spans)), nodes: make([]node, 1, 4*len(spans))}
	for i := range spans {
		t.layers[i] = 1 + t.above(i)
		t.insert(i)
	}
	return t.layers
}

// tree has a node for each prefix, a bit deeper than that of its parent. Prefixes
// that overlap are on one path, so that most of the other spans are never looked at.
type tree struct {
	spans  []span
	layers []int
	nodes  []node // the first is 0.0.0.0/0
}

type node struct {
	children [2]int32 // 0: none
	highest  int      // layer, of the spans here and below
	spans    []int32  // with just this prefix
}

// above returns the highest layer of what is in the tree and overlaps span i.
func (t *tree) above(i int) int {
	s, n, best := &t.spans[i], int32(0), 0
	for depth := range s.bits {
		best = t.highestAt(n, i, best)
		if n = t.nodes[n].children[bit(s.low, depth)]; n == 0 {
			return best
		}
	}
	return t.highestBelow(n, i, best)
}

// highestAt looks at the spans of a node. Later ones tend to have higher layers.
func (t *tree) highestAt(n int32, i, best int) int {
	for _, j := range slices.Backward(t.nodes[n].spans) {
		if t.layers[j] > best && t.spans[i].meets(&t.spans[j]) {
			best = t.layers[j]
		}
	}
	return best
}

func (t *tree) highestBelow(n int32, i, best int) int {
	if t.nodes[n].highest <= best {
		return best
	}
	best = t.highestAt(n, i, best)
	for _, child := range t.nodes[n].children {
		if child != 0 {
			best = t.highestBelow(child, i, best)
		}
	}
	return best
}

func (t *tree) insert(i int) {
	s, n := &t.spans[i], int32(0)
	for depth := 0; ; depth++ {
		t.nodes[n].highest = max(t.nodes[n].highest, t.layers[i])
		if depth == s.bits {
			break
		}
		child := t.nodes[n].children[bit(s.low, depth)]
		if child == 0 {
			child = int32(len(t.nodes))
			t.nodes[n].children[bit(s.low, depth)] = child
			t.nodes = append(t.nodes, node{})
		}
		n = child
	}
	t.nodes[n].spans = append(t.nodes[n].spans, int32(i))
}

// bit returns the bit of an address at a depth of the tree.
func bit(addr uint32, depth int) uint32 { return addr >> (31 - depth) & 1 }
