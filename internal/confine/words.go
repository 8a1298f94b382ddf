package confine

import (
	"fmt"
	"strconv"
	"strings"
)

// fewNames is how many names a sentence has room for.
const fewNames = 4

// enumerate returns "the group 5", "the groups 5 and 6" or "41 groups".
func enumerate(one, several string, names []string) string {
	last := len(names) - 1
	switch {
	case last == 0:
		return "the " + one + " " + names[0]
	case last < fewNames:
		return "the " + several + " " + strings.Join(names[:last], ", ") + " and " + names[last]
	}
	return fmt.Sprintf("%d %s", len(names), several)
}

func numbers(list []int) []string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.Itoa(n)
	}
	return texts
}
