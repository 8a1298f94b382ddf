package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Offsets in the superblock of squashfs 4 (Documentation/filesystems/squashfs.rst
// and fs/squashfs/squashfs_fs.h of Linux); all numbers are little-endian.
const (
	sqInodes      = 4
	sqMkfsTime    = 8
	sqIDs         = 26
	sqRootInode   = 32
	sqBytesUsed   = 40
	sqIDTable     = 48
	sqXattrTable  = 56
	sqInodeTable  = 64
	sqSuperblock  = 96
	sqNoTable     = ^uint64(0)
	sqPlain       = 0x8000 // bit of a metadata block's length: it is not compressed
	sqMetadata    = 8192   // bytes in a metadata block
	sqIDsPerBlock = sqMetadata / 4
	sqPadding     = 4096 // the image's size is a multiple of it
)

// squashImage is an image that is being corrected.
type squashImage struct {
	file  *os.File
	super []byte
}

// finishSquashfs corrects what sqfstar 4.5 can't be told about the root
// directory: it is made with the ids of whoever runs it and the time of the day,
// and an entry for it is ignored. The image's own time becomes that of its newest
// entry. Both let the same tree give the same bytes.
func finishSquashfs(f *os.File, t *tree) error {
	im := &squashImage{file: f, super: make([]byte, sqSuperblock)}
	if _, err := f.ReadAt(im.super, 0); err != nil {
		return err
	}
	// sqfstar says "ignoring" to some of what it does not like, and goes on.
	if got := int(binary.LittleEndian.Uint32(im.super[sqInodes:])); got != t.inodes {
		return fmt.Errorf("sqfstar has packed %d of %d inodes", got, t.inodes)
	}
	binary.LittleEndian.PutUint32(im.super[sqMkfsTime:], uint32(t.time().Unix()))
	uid, err := im.idIndex(t.root.uid)
	if err != nil {
		return err
	}
	gid, err := im.idIndex(t.root.gid)
	if err != nil {
		return err
	}
	if err := im.setRoot(t.root.mode, uid, gid, uint32(t.root.mtime)); err != nil {
		return err
	}
	_, err = f.WriteAt(im.super, 0)
	return err
}

func (im *squashImage) number(offset int) uint64 {
	return binary.LittleEndian.Uint64(im.super[offset:])
}

// setRoot overwrites the head of the root directory's inode: type, mode, index
// of its uid and of its gid, time.
func (im *squashImage) setRoot(mode, uid, gid uint16, mtime uint32) error {
	reference := im.number(sqRootInode)
	block := int64(im.number(sqInodeTable) + reference>>16)
	head := make([]byte, 0, 10)
	head = binary.LittleEndian.AppendUint16(head, mode)
	head = binary.LittleEndian.AppendUint16(head, uid)
	head = binary.LittleEndian.AppendUint16(head, gid)
	head = binary.LittleEndian.AppendUint32(head, mtime)
	offset := int64(reference&0xffff) + 2 // after the type
	for i, b := range head {
		at := offset + int64(i) // an inode may go on in the next block
		within := block + at/sqMetadata*(2+sqMetadata)
		if err := im.checkPlain(within); err != nil {
			return err
		}
		if _, err := im.file.WriteAt([]byte{b}, within+2+at%sqMetadata); err != nil {
			return err
		}
	}
	return nil
}

func (im *squashImage) checkPlain(block int64) error {
	length := make([]byte, 2)
	if _, err := im.file.ReadAt(length, block); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(length)&sqPlain == 0 {
		return errors.New("sqfstar has compressed the table of inodes")
	}
	return nil
}

// idIndex returns the place of an id in the table of ids, and adds it if need be.
func (im *squashImage) idIndex(id uint32) (uint16, error) {
	count := int(binary.LittleEndian.Uint16(im.super[sqIDs:]))
	index := int64(im.number(sqIDTable))
	pointers := make([]byte, 8*((count+sqIDsPerBlock-1)/sqIDsPerBlock))
	if _, err := im.file.ReadAt(pointers, index); err != nil {
		return 0, err
	}
	var ids []uint32
	for left := count; left > 0; pointers = pointers[8:] {
		block := int64(binary.LittleEndian.Uint64(pointers))
		if err := im.checkPlain(block); err != nil {
			return 0, err
		}
		part := make([]uint32, min(left, sqIDsPerBlock))
		if err := binary.Read(io.NewSectionReader(im.file, block+2, sqMetadata), binary.LittleEndian, part); err != nil {
			return 0, err
		}
		ids = append(ids, part...)
		left -= len(part)
	}
	if at := slices.Index(ids, id); at >= 0 {
		return uint16(at), nil
	}
	if count%sqIDsPerBlock == 0 || count > sqIDsPerBlock {
		return 0, fmt.Errorf("the owner of the root directory, id %d, owns nothing else, and there are too many other owners to add it", id)
	}
	return uint16(count), im.addID(id, count)
}

// addID puts an id behind the count that are there, in their one block. What
// follows, which is the table of extended attributes, moves on by its size.
func (im *squashImage) addID(id uint32, count int) error {
	const size = 4
	index := int64(im.number(sqIDTable))
	end := int64(im.number(sqBytesUsed))
	behind := make([]byte, end-index)
	if _, err := im.file.ReadAt(behind, index); err != nil {
		return err
	}
	block := int64(binary.LittleEndian.Uint64(behind)) // of ids; the index begins where it ends
	if block+2+size*int64(count) != index {
		return errors.New("sqfstar has not put the table of ids where it is expected")
	}
	if table := im.number(sqXattrTable); table != sqNoTable {
		if err := moveXattrs(behind[int64(table)-index:], size); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(im.super[sqXattrTable:], table+size)
	}
	length := binary.LittleEndian.AppendUint16(nil, uint16(sqPlain|size*(count+1)))
	padded := make([]byte, (end+size+sqPadding-1)/sqPadding*sqPadding-index)
	binary.LittleEndian.PutUint32(padded, id)
	copy(padded[size:], behind)
	_, err1 := im.file.WriteAt(length, block)
	_, err2 := im.file.WriteAt(padded, index)
	binary.LittleEndian.PutUint16(im.super[sqIDs:], uint16(count+1))
	binary.LittleEndian.PutUint64(im.super[sqIDTable:], uint64(index)+size)
	binary.LittleEndian.PutUint64(im.super[sqBytesUsed:], uint64(end)+size)
	return errors.Join(err1, err2)
}

// moveXattrs adds size to all addresses in the table of extended attributes:
// that of the attributes themselves, and those of the blocks with their ids.
func moveXattrs(table []byte, size uint64) error {
	const perBlock = sqMetadata / 16
	if len(table) < 16 {
		return errors.New("sqfstar has written no table of extended attributes")
	}
	ids := int(binary.LittleEndian.Uint32(table[8:]))
	addresses := [][]byte{table}
	for i := range (ids + perBlock - 1) / perBlock {
		if len(table) < 16+8*(i+1) {
			return errors.New("the table of extended attributes is cut short")
		}
		addresses = append(addresses, table[16+8*i:])
	}
	for _, address := range addresses {
		binary.LittleEndian.PutUint64(address, binary.LittleEndian.Uint64(address)+size)
	}
	return nil
}
