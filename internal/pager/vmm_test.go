package pager_test

func play([]string) error { return nil }
