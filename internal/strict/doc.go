// Package strict decodes documents that people write, and tells all that is
// wrong with them at once: unknown keys, with the one that was probably meant,
// keys that are set twice, values of the wrong kind, each with field and line.
//
// A document, JSON or YAML, is read into nodes first ([Read]), which are then
// decoded into Go values ([Decode]).
package strict
