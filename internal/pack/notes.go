package pack

import "log/slog"

// notes tells through the logger what is left out of the image, since that is no
// failure. Of things that may occur in each entry only the first is told.
type notes struct {
	log  *slog.Logger
	told map[string]bool
}

func newNotes(log *slog.Logger) *notes {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &notes{log: log, told: make(map[string]bool)}
}

// leftOut tells of one entry.
func (n *notes) leftOut(name, what string) {
	n.log.Warn("left out of the image", slog.String("path", "/"+name), slog.String("what", what))
}

// leftOutOnce tells of a kind of thing, and where it was seen first.
func (n *notes) leftOutOnce(name, what string) {
	if !n.told[what] {
		n.told[what] = true
		n.leftOut(name, what)
	}
}
