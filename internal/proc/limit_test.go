package proc

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFileSizeLimitIsRaisedAndNeverLowered(t *testing.T) {
	t.Parallel()
	p := start(t, "ulimit -f 2048; exec sleep 1000") // blocks of 512 bytes
	const limit = 1 << 20
	for !func() bool { now, limited, err := p.fileSizeLimit(); return err == nil && limited && now == limit }() {
		if _, err := p.Threads(); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []uint64{0, limit} {
		if err := p.AllowFileSize(size); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	err := p.AllowFileSize(2 * limit)
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_SYS_RESOURCE: ", err)
	}
	if now, _, _ := p.fileSizeLimit(); err != nil || now != 2*limit {
		t.Errorf("it may write files of %d bytes, %v", now, err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.AllowFileSize(4 * limit); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that has ended: %v", err)
	}
}

func TestProcessWithoutALimitNeedsNone(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 1000")
	if _, limited, err := p.fileSizeLimit(); limited || err != nil {
		t.Errorf("limited %t, %v", limited, err)
	}
	if err := p.AllowFileSize(1 << 60); err != nil {
		t.Error(err)
	}
}
