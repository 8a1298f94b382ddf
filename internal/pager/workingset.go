package pager

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

// A working-set file lists the pages that a restored guest has touched first, in that
// order:
//
//	"smartvm working set 1\n"
//	three numbers of 8 bytes: size of a page, size and time of the memory file
//	rows of pages, two varints each: where it begins, as the difference to the end of the row before, and how many pages it has
//	CRC-32C of all that, 4 bytes
//
// Numbers are little-endian. It is a cache: one that is for another memory file, or is
// damaged, is worth nothing and does no harm, for what it names is fetched from the memory
// file like every other page.
const (
	setMagic = "smartvm working set 1\n"
	setHead  = len(setMagic) + 3*8

	// maxSet is the most pages that a working set has: 256 MiB, or with huge pages all of a
	// guest of up to 128 GiB.
	maxSet = 64 << 10
	// maxSetFile is more than as many rows of one page take.
	maxSetFile = 1 << 20
)

var checksum = crc32.MakeTable(crc32.Castagnoli)

// identity is which memory file a working set is for.
type identity struct {
	pageSize uint64
	size     uint64
	modified int64 // in nanoseconds
}

func (m *memory) identity(pageSize uint64) identity {
	return identity{pageSize, m.size(), m.was.Mtim.Nano()}
}

// encodeSet writes a working set.
func encodeSet(of identity, rows []span) []byte {
	text := []byte(setMagic)
	text = binary.LittleEndian.AppendUint64(text, of.pageSize)
	text = binary.LittleEndian.AppendUint64(text, of.size)
	text = binary.LittleEndian.AppendUint64(text, uint64(of.modified))
	var end uint64
	for _, row := range rows {
		text = binary.AppendVarint(text, int64(row.first)-int64(end))
		text = binary.AppendUvarint(text, row.count)
		end = row.first + row.count
	}
	return binary.LittleEndian.AppendUint32(text, crc32.Checksum(text, checksum))
}

// decodeSet reads a working set of a memory file. All rows lie in the file.
func decodeSet(text []byte, of identity) ([]span, error) {
	if len(text) < setHead+4 || string(text[:len(setMagic)]) != setMagic {
		return nil, errors.New("it is no working set of this version")
	}
	body, sum := text[:len(text)-4], binary.LittleEndian.Uint32(text[len(text)-4:])
	if crc32.Checksum(body, checksum) != sum {
		return nil, errors.New("its checksum is wrong")
	}
	number := func(n int) uint64 { return binary.LittleEndian.Uint64(body[len(setMagic)+8*n:]) }
	if (identity{number(0), number(1), int64(number(2))}) != of {
		return nil, errors.New("it is for another memory file")
	}
	pages := of.size / of.pageSize
	var rows []span
	var end, total uint64
	for body = body[setHead:]; len(body) > 0; {
		skip, n := binary.Varint(body)
		count, m := binary.Uvarint(body[max(n, 0):])
		if n <= 0 || m <= 0 {
			return nil, errors.New("a number in it is cut short or too large")
		}
		body = body[n+m:]
		first := end + uint64(skip) // may wrap around, and is too large then
		if count == 0 || count > maxSet-total || first >= pages || count > pages-first {
			return nil, fmt.Errorf("it names %d pages from page %d on, of %d", count, first, pages)
		}
		total += count
		end = first + count
		rows = append(rows, span{first, count})
	}
	return rows, nil
}

// setFile is where a working set is kept.
type setFile struct {
	dir  *privdir.Dir
	name string
}

func openSetFile(path string) (*setFile, error) {
	dir, err := privdir.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return &setFile{dir, filepath.Base(path)}, nil
}

func (f *setFile) read(of identity) ([]span, error) {
	file, _, err := plainfile.OpenIn(f.dir.Root(), f.name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSetFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSetFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxSetFile)
	}
	return decodeSet(text, of)
}

// write replaces the file. It need not survive a power cut.
func (f *setFile) write(of identity, rows []span) error {
	return f.dir.WriteFile(f.name, encodeSet(of, rows), false)
}

func (f *setFile) close() error { return f.dir.Close() }

// recorder notes which pages are needed first.
type recorder struct {
	known pageSet // those that are noted
	given uint64  // how many of them the last working set had
	count uint64  // how many there are
	rows  []span
}

// newRecorder begins with what is known already.
func newRecorder(pages uint64, rows []span) *recorder {
	r := &recorder{known: newPageSet(pages)}
	for _, row := range rows {
		for p := row.first; p < row.first+row.count; p++ {
			r.add(p)
		}
	}
	r.given = r.count
	return r
}

func (r *recorder) add(page uint64) {
	if r.count == maxSet || r.known.has(page) {
		return
	}
	r.known.add(span{page, 1})
	r.count++
	if n := len(r.rows); n > 0 && r.rows[n-1].first+r.rows[n-1].count == page {
		r.rows[n-1].count++
		return
	}
	r.rows = append(r.rows, span{page, 1})
}

// news reports whether so much is new that it is worth writing: a quarter of what was
// known. Else each of many clones would write the file again for some page of its own.
func (r *recorder) news() bool { return r.count > r.given && r.count-r.given >= r.given/4 }
