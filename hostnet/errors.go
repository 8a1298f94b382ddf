package hostnet

import (
	"time"

	"github.com/smartvm/smartvm/errcode"
)

// closeTimeout bounds what has no context of a caller.
const closeTimeout = 30 * time.Second

// failed gives an error of this package its code; a more precise one from inside is kept.
func failed(code errcode.Code, op, subject string, err error) *errcode.Error {
	return &errcode.Error{Code: errcode.Of(err, code), Op: op, Subject: subject, Err: err}
}

// damaged is the error about a file of ours that says what nobody has written there.
// Its code is that of the file, whatever a value in it would be otherwise.
func damaged(path string, err error) error {
	return &errcode.Error{
		Code: errcode.LedgerFailed, Op: "read", Subject: path, Err: err,
		Hint: "somebody has changed the file; end the VMs of the network, remove its directory, then: smartvm gc",
	}
}
