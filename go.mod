module github.com/smartvm/smartvm

go 1.26.0

require (
	github.com/goccy/go-yaml v1.19.2
	github.com/google/go-cmp v0.7.0
	golang.org/x/sys v0.50.0
)
