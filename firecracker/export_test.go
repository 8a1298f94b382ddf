package firecracker

import "net"

// EndpointCount is the size of the table.
var EndpointCount = len(endpoints)

// ReadAnswer reads one answer as a client would. It reports whether the
// connection could be used further.
func ReadAnswer(conn net.Conn, method string) (answer *Response, usable bool, err error) {
	l := newLink(conn)
	answer, err = l.read(method)
	return answer, err == nil && !l.broken && l.reader.Buffered() == 0, err
}
