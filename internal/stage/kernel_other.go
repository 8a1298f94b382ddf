//go:build !linux

package stage

import (
	"errors"
	"os"
)

func openSource(string) (*source, error) { return nil, errors.ErrUnsupported }

func (s *source) reflink(*os.File) error { return errors.ErrUnsupported }

func (s *source) cloneInto(*os.Root) (*os.File, error) { return nil, errors.ErrUnsupported }

func linkInto(_, _ *os.File, _ string) error { return errors.ErrUnsupported }

func reflinkRefused(error) bool { return false }

func isFull(error) bool { return false }

func nextData(*os.File, int64) (start int64, more bool, err error) {
	return 0, false, errors.ErrUnsupported
}

func nextHole(*os.File, int64) (int64, error) { return 0, errors.ErrUnsupported }

func allocated(*os.File) (int64, error) { return 0, errors.ErrUnsupported }

func roomOf(*os.Root) (room, error) { return room{}, errors.ErrUnsupported }

type mover struct{}

func newMover(_, _ *os.File) *mover { return new(mover) }

func (m *mover) method() Method { return "" }

func (m *mover) move(_, _ int64) (int64, error) { return 0, errors.ErrUnsupported }
