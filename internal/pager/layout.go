package pager

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// The sizes of pages that a guest's memory can be made of. Huge pages are those of
// hugetlbfs, whose size on arm64 is the same if its small pages are of 4 KiB.
const (
	smallPage = 4 << 10
	hugePage  = 2 << 20
)

// region is a part of a guest's memory, as Firecracker describes it. The field
// page_size_kib, which is in bytes as well, is not read: the releases that have only that
// one can't be guarded.
type region struct {
	Base     uint64 `json:"base_host_virt_addr"` // in Firecracker's address space
	Size     uint64 `json:"size"`
	Offset   uint64 `json:"offset"` // in the memory file
	PageSize uint64 `json:"page_size"`
}

// layout says where the pages of the memory file are in Firecracker's address space. A page
// goes by its number in the file.
type layout struct {
	pageSize  uint64
	pages     uint64   // in the file
	byAddress []region // as they lie in memory
	byOffset  []region // as they lie in the file, without gaps
}

// parseLayout reads what Firecracker says about its memory, whose content is in a file of
// size bytes. It takes nothing on trust: pages must lie in one place each, and the file
// must be as large as the memory.
func parseLayout(text []byte, size uint64) (layout, error) {
	var regions []region
	if err := json.Unmarshal(text, &regions); err != nil {
		return layout{}, err
	}
	if len(regions) == 0 {
		return layout{}, errors.New("the memory has no regions")
	}
	l := layout{pageSize: regions[0].PageSize}
	if l.pageSize != smallPage && l.pageSize != hugePage {
		return layout{}, fmt.Errorf("pages of %d bytes; 0 is what Firecracker before v1.12 says", l.pageSize)
	}
	for _, r := range regions {
		if err := r.check(l.pageSize, size); err != nil {
			return layout{}, fmt.Errorf("region at %#x: %w", r.Base, err)
		}
	}
	l.byAddress = slices.SortedFunc(slices.Values(regions), func(a, b region) int { return cmp.Compare(a.Base, b.Base) })
	l.byOffset = slices.SortedFunc(slices.Values(regions), func(a, b region) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := range regions[1:] {
		if a, b := l.byAddress[i], l.byAddress[i+1]; a.Base+a.Size > b.Base {
			return layout{}, fmt.Errorf("the regions at %#x and %#x overlap", a.Base, b.Base)
		}
	}
	var end uint64
	for _, r := range l.byOffset {
		if r.Offset != end {
			return layout{}, fmt.Errorf("the content of the region at %#x begins at byte %d of the file, and that before it ends at %d", r.Base, r.Offset, end)
		}
		end += r.Size
	}
	if end != size {
		return layout{}, fmt.Errorf("the memory has %d bytes, and the memory file %d", end, size)
	}
	l.pages = size / l.pageSize
	return l, nil
}

// check looks at one region. Afterwards no sum of its numbers overflows.
func (r region) check(pageSize, file uint64) error {
	switch {
	case r.PageSize != pageSize:
		return fmt.Errorf("pages of %d bytes, and elsewhere of %d", r.PageSize, pageSize)
	case r.Size == 0:
		return errors.New("it is empty")
	case (r.Base|r.Size|r.Offset)%pageSize != 0:
		return errors.New("it is not made of whole pages")
	case r.Base+r.Size < r.Base:
		return errors.New("it goes beyond the end of memory")
	case r.Size > file || r.Offset > file-r.Size:
		return fmt.Errorf("its content would lie beyond the end of the memory file, which has %d bytes", file)
	}
	return nil
}

// page returns the number of the page at an address.
func (l *layout) page(address uint64) (uint64, bool) {
	i, exact := slices.BinarySearchFunc(l.byAddress, address, func(r region, at uint64) int { return cmp.Compare(r.Base, at) })
	if !exact {
		i-- // the one before
	}
	if i < 0 || address-l.byAddress[i].Base >= l.byAddress[i].Size {
		return 0, false
	}
	r := l.byAddress[i]
	return (r.Offset + address - r.Base) / l.pageSize, true
}

// address returns where a page is, and how many pages are in a row from there on.
func (l *layout) address(page uint64) (at, row uint64) {
	offset := page * l.pageSize
	i, exact := slices.BinarySearchFunc(l.byOffset, offset, func(r region, at uint64) int { return cmp.Compare(r.Offset, at) })
	if !exact {
		i--
	}
	r := l.byOffset[i]
	into := offset - r.Offset
	return r.Base + into, (r.Size - into) / l.pageSize
}

// inside returns the pages that lie completely between two addresses.
func (l *layout) inside(start, end uint64) []span {
	var spans []span
	for _, r := range l.byAddress {
		from, to := max(start, r.Base), min(end, r.Base+r.Size)
		if from >= to {
			continue
		}
		first := (r.Offset + from - r.Base + l.pageSize - 1) / l.pageSize
		if last := (r.Offset + to - r.Base) / l.pageSize; last > first {
			spans = append(spans, span{first, last - first})
		}
	}
	return spans
}

// span is a row of pages of the memory file.
type span struct{ first, count uint64 }

// pageSet is a set of pages.
type pageSet []uint64

func newPageSet(pages uint64) pageSet { return make(pageSet, (pages+63)/64) }

func (s pageSet) has(page uint64) bool { return s[page/64]>>(page%64)&1 == 1 }

func (s pageSet) add(pages span) {
	for p := pages.first; p < pages.first+pages.count; p++ {
		s[p/64] |= 1 << (p % 64)
	}
}
