package netlinux

import "github.com/smartvm/smartvm/internal/ruleset"

// SetCounts returns what the elements of a set have counted, by their comment; those
// with the same comment are added up. The error matches [fs.ErrNotExist] when there
// is no such set.
func (h *Host) SetCounts(family ruleset.Family, table, set string) (map[string]Count, error) {
	elements, err := h.elements(family, table, set)
	if err != nil {
		return nil, h.nftFailed("count hits of", "set "+set+" of table "+string(family)+" "+table, err)
	}
	counts := map[string]Count{}
	for _, e := range elements {
		sum := counts[e.comment]
		sum.Packets += e.count.Packets
		sum.Bytes += e.count.Bytes
		counts[e.comment] = sum
	}
	return counts, nil
}
