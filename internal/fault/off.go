//go:build !faultpoint

package fault

// Point does nothing in this build.
func Point(string) {}
