package snapshot

// Stamp lets tests make a file look unchanged.
var Stamp = stamp
