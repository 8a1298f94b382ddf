package netlinux

// TablesNamed returns the tables of that name in all families, whoever has made them.
func (h *Host) TablesNamed(name string) ([]TableInfo, error) {
	all, err := h.allTables()
	if err != nil {
		return nil, h.nftFailed("list", "tables", err)
	}
	var named []TableInfo
	for _, t := range all {
		if t.Name == name {
			named = append(named, t.TableInfo)
		}
	}
	return named, nil
}
