package pager

// NewUffd makes a userfaultfd as Firecracker does, for a process that plays it.
func NewUffd() (int, error) {
	u, err := open()
	if err == nil {
		err = u.enable(featureRemove)
	}
	return int(u), err
}
