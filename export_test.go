package smartvm

// Operations returns the table of what is allowed when, for tests that try all of it.
func Operations() map[string][]State {
	table := make(map[string][]State, len(allowed))
	for op, states := range allowed {
		table[string(op)] = append([]State(nil), states...)
	}
	return table
}
