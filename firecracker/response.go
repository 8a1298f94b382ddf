package firecracker

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Response is Firecracker's answer, whatever it says.
type Response struct {
	OK         bool // the status is 2xx
	StatusCode int
	// Body is the answer as JSON, nil when there is none. Firecracker's errors
	// at the level of HTTP are not valid JSON; they are repaired.
	Body json.RawMessage
	// Fault is why Firecracker refused, in its words; "" when it did not.
	Fault string
	// Deprecated says that the call uses something that Firecracker will drop.
	Deprecated bool
}

// Decode stores the body in the value that v points to. Numbers of unknown type
// become json.Number, so that no digit of metadata is lost.
func (r *Response) Decode(v any) error {
	decoder := json.NewDecoder(bytes.NewReader(r.Body))
	decoder.UseNumber()
	return decoder.Decode(v)
}

// newResponse reads one of the three shapes that an error can have:
//
//	{"fault_message":"..."}                 from the call itself
//	{ "error": "...<line feed>..." }        from the HTTP parser, not valid JSON
//	{ "error": "Too many open connections" } with status 503
//
// It also reports whether the connection is still in step: after the last two
// Firecracker takes the rest of a body for the next request, or hangs up.
func newResponse(raw *http.Response, body []byte) (answer *Response, inStep bool) {
	answer = &Response{
		OK:         raw.StatusCode/100 == 2,
		StatusCode: raw.StatusCode,
		Body:       validJSON(body),
		Deprecated: raw.Header.Get("Deprecation") == "true",
	}
	if answer.OK {
		return answer, true
	}
	var shape struct {
		FaultMessage *string `json:"fault_message"`
		Error        string  `json:"error"`
	}
	if err := answer.Decode(&shape); err == nil && shape.FaultMessage != nil {
		answer.Fault = strings.TrimSpace(*shape.FaultMessage)
		return answer, true
	}
	answer.Fault = strings.TrimSpace(shape.Error)
	if answer.Fault == "" {
		answer.Fault = strings.TrimSpace(strings.ToValidUTF8(string(body), "?"))
	}
	return answer, false
}

// validJSON returns body as it is, with its raw line feeds escaped, or as a JSON string.
func validJSON(body []byte) json.RawMessage {
	if len(body) == 0 {
		return nil
	}
	if json.Valid(body) {
		return body
	}
	if repaired := bytes.ReplaceAll(body, []byte("\n"), []byte(`\n`)); json.Valid(repaired) {
		return repaired
	}
	quoted, _ := json.Marshal(string(body))
	return quoted
}
