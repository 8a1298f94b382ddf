// Package fault marks the points at which a controller can be killed by a test.
//
// Built without the tag "faultpoint", as every release is, [Point] is empty and
// costs nothing. Built with it, the environment variable SMARTVM_FAULT=N sends
// SIGKILL to the process itself when it reaches its Nth point, "N NAME" when it
// reaches that point for the Nth time, and SMARTVM_FAULT_LOG names a file to which
// every point that was reached is appended. A test that runs a command for
// N = 1, 2, 3, ... until it survives has killed it at every point there is. Where
// goroutines reach them in another order each time, it takes the names.
package fault
