// Package ruleset is nftables state as a value: tables, sets, chains and rules
// that can be compared, printed in the syntax of nft, and made true by netlinux.
//
// It has just what smartvm's rules need, and knows nothing about what they mean.
package ruleset
