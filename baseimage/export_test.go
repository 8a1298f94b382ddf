package baseimage

import "regexp"

// What the JSON Schema has to say too.
const (
	MaxName     = maxName
	MaxURL      = maxURL
	MaxPath     = maxPath
	MaxSize     = maxSize
	MaxBootArgs = maxBootArgs
)

// Patterns are the patterns of the JSON Schema by field.
var Patterns = map[string]*regexp.Regexp{
	"bundleId": bundleIDPattern, "name": textPattern, "bootArgs": bootArgsPattern,
	"artifact.url": urlPattern, "artifact.path": textPattern, "artifact.fileName": fileNamePattern,
}

// Names that the JSON Schema has to list.
var (
	Arches        = arches
	RootfsTypes   = rootfsTypes
	ReservedNames = reservedNames
)

// LoadManifest is what the cache reads manifests with.
var LoadManifest = loadManifest
