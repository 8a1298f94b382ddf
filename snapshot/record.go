package snapshot

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// writeRecord makes or replaces a file with a value, as JSON. Whoever reads the file finds
// either the old value or the new one.
func writeRecord(dir *os.Root, name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	temp := name + ".new"
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	if err := writeNew(dir, temp, append(data, '\n')); err != nil {
		return errors.Join(noSpace(err), dir.Remove(temp))
	}
	fault.Point("snapshot: record written")
	if err := dir.Rename(temp, name); err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	return plainfile.SyncIn(dir, ".")
}

func writeNew(dir *os.Root, name string, data []byte) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// noSpace gives the error of a full file system its code.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &errcode.Error{
			Code: errcode.Of(err, errcode.NoSpace), Op: "write snapshot", Err: err,
			Hint: "free some room, or remove snapshots: smartvm snapshot rm",
		}
	}
	return err
}
