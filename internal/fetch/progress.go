package fetch

// Progress is told how long work goes on. Implementations must be safe for
// concurrent use.
type Progress interface {
	// Begin starts a task such as "vmlinux-6.1.128"; total is in bytes, 0 when unknown.
	Begin(name string, total int64) Task
}

// Task is one piece of work that a [Progress] shows. Its methods are called from
// one goroutine at a time, End last and once.
type Task interface {
	// Set tells the bytes that are there, those of an earlier call included, and
	// how many there will be, 0 when unknown. It may go back when a download has
	// to start afresh.
	Set(done, total int64)
	// End tells the outcome; nil means done and verified.
	End(err error)
}

// silent tells nobody.
type silent struct{}

// Begin starts a task that nobody sees.
func (silent) Begin(string, int64) Task { return silent{} }

// Set does nothing.
func (silent) Set(int64, int64) {}

// End does nothing.
func (silent) End(error) {}
