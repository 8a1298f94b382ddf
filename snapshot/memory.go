package snapshot

import (
	"context"
	"path/filepath"
)

// Memory returns the path of a file with the whole memory of a snapshot. That of a diff is
// made when it is asked for first.
func (s *Store) Memory(ctx context.Context, m *Manifest) (string, error) {
	if m.Type == Full {
		return filepath.Join(s.Path(m.Name), MemoryFile), nil
	}
	path, err := s.merged(ctx, m)
	return path, coded(ctx, opMerge, m.Name, err)
}
