package strict

import (
	"cmp"
	"slices"
	"strings"
)

// DidYouMean returns `, did you mean "x"?` with the nearest of the candidates,
// or "" when none is near.
func DidYouMean(text string, candidates []string) string {
	const longest = 64 // no name is, and the cost grows with the product
	if len(text) > longest || len(candidates) == 0 {
		return ""
	}
	distance := func(c string) int { return editDistance(plain(text), plain(c)) }
	for _, c := range candidates {
		if len(text) > 2 && strings.HasPrefix(plain(c), plain(text)) {
			return ", did you mean " + Quote(c) + "?"
		}
	}
	best := slices.MinFunc(candidates, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	if distance(best) > max(1, len(best)/3) || best == "" {
		return ""
	}
	return ", did you mean " + Quote(best) + "?"
}

// plain makes bootSource, boot_source and boot-source the same.
func plain(text string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(text))
}

// editDistance counts the bytes to insert, delete, change, or swap with the next.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range len(b) {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
