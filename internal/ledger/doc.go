// Package ledger records every host resource before it is made, together with
// what undoes it, in a file that outlives the process.
//
// A [Ledger] is a private directory with one append-only file in it. Whoever
// holds the lock on the file owns everything that is recorded; a free lock means
// that the owner is gone. A failed start, an ordinary clean-up and the
// collection of what a killed process left are therefore one operation,
// [Ledger.Release], on the same records:
//
//	l.Make(resource, effect)   "make" is written, effect runs, "made" adds what only the effect could know
//	l.Release(ctx)             each is given back, users first and else newest first, and "gone" is written
//	l.Destroy()                the directory goes, the ledger last
//
// A process that is killed between two of these lines leaves a record of
// something that may or may not exist; that is why releasing must be idempotent
// and why a resource describes itself so exactly that nothing else can be
// mistaken for it.
//
// The directory appears under its name complete and locked: it is built under a
// temporary name and renamed. It disappears the same way. [Sweep] removes what a
// kill in between leaves: what has no ledger that somebody has locked.
package ledger
