package image

// Parsers of what comes from outside, for fuzzing.
var (
	ParseSums = parseSums
	ParseTag  = parseTag
)
