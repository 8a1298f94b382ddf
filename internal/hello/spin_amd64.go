package hello

import "time"

// SpinHost runs the loop of the word Spin on the host and returns how long it took. Each of the loops is two instructions, DEC and JNZ,
// the same in the guest: the ratio of the two times is that of the speed of plain code. The loop can't be preempted: a hundred million
// of them are some 30 ms.
func SpinHost(loops uint64) (time.Duration, error) {
	start := time.Now()
	spin(loops)
	return time.Since(start), nil
}

//go:noescape
func spin(loops uint64)
