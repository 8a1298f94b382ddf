package netlinux

// Numbers of linux/netfilter/nf_tables.h that package unix does not have.
const (
	tableHandle   = 4    // NFTA_TABLE_HANDLE
	tableUserData = 6    // NFTA_TABLE_USERDATA
	hookDevices   = 4    // NFTA_HOOK_DEVS
	fieldLength   = 1    // NFTA_SET_FIELD_LEN
	setExpression = 0x11 // NFTA_SET_EXPR

	// tableOwned is NFT_TABLE_F_OWNER: nobody but the process that made a table may
	// change it.
	tableOwned = 2
)
