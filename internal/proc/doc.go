// Package proc starts, watches and ends single processes.
//
// A process is known by its [ID], which can't be mistaken for another process
// that got the same pid later, and watched through a pidfd, so that a process
// this program started and one it found are the same thing: [Start] and [Open]
// both return a [Process] whose Done channel closes when it has ended. A process
// is never tied to a context or to the life of this program.
//
// It is the only package that starts processes.
package proc
