package firecrackertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/firecracker"
)

// answer answers one request; it reports false for one that hangs.
func (s *Server) answer(conn net.Conn, r *http.Request) bool {
	body, _ := io.ReadAll(r.Body)
	call := r.Method + " " + r.URL.Path
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if slices.Contains(s.options.Hang, call) {
		return false
	}
	if fault, ok := s.options.Refuse[call]; ok {
		writeFault(conn, http.StatusBadRequest, fault)
		return true
	}
	status, out, fault := s.handleLocked(r.Method, r.URL.Path, body)
	switch {
	case fault != "":
		writeFault(conn, status, fault)
	case s.hangsUp(body):
		_ = conn.Close()
	case out != nil:
		text, _ := json.Marshal(out)
		writeAnswer(conn, http.StatusOK, "OK", "", string(text))
	default:
		writeAnswer(conn, http.StatusNoContent, "No Content", deprecation(body), "")
	}
	return true
}

func (s *Server) hangsUp(body []byte) bool {
	var value any
	err := json.Unmarshal(body, &value)
	return err == nil && slices.Contains(s.options.HangUp, firecracker.ActionType(field(value, "action_type")))
}

// handleLocked does what the call asks for, as far as a fake can.
func (s *Server) handleLocked(method, path string, body []byte) (status int, out any, fault string) {
	var value any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &value); err != nil {
			return http.StatusBadRequest, nil, "An error occurred when deserializing the json body of a request: " + err.Error() + "."
		}
	}
	if (method == http.MethodPut || method == http.MethodPatch) && value == nil {
		return http.StatusBadRequest, nil, fmt.Sprintf("Empty %s request.", method)
	}
	action := field(value, "action_type")
	request := firecracker.Request{Method: method, Path: path}
	if action != "" {
		request.Body = firecracker.Action{ActionType: firecracker.ActionType(action)}
	}
	if err := request.Check(s.options.Version); err != nil || !request.Known() {
		return http.StatusBadRequest, nil, fmt.Sprintf("Invalid request method and/or path: %s %s.", method, path)
	}
	phase := request.Phase()
	if !phase.Allows(s.state) && (phase != firecracker.WhenPaused || s.state == firecracker.NotStarted) {
		when := "before"
		if phase == firecracker.BeforeBoot {
			when = "after"
		}
		return http.StatusBadRequest, nil, "The requested operation is not supported " + when + " starting the microVM."
	}
	return s.effectLocked(method+" "+path, action, value)
}

func (s *Server) effectLocked(call, action string, value any) (status int, out any, fault string) {
	switch call {
	case "GET /":
		out = firecracker.InstanceInfo{
			ID: s.options.ID, State: s.state, VMMVersion: strings.TrimPrefix(s.options.Version.String(), "v"), AppName: "Firecracker",
		}
	case "GET /version":
		out = firecracker.VersionInfo{FirecrackerVersion: strings.TrimPrefix(s.options.Version.String(), "v")}
	case "GET /machine-config":
		out = s.machine
	case "PUT /machine-config":
		s.machine = value
	case "GET /mmds":
		if out = s.metadata; out == nil {
			out = struct{}{}
		}
	case "PUT /mmds":
		s.metadata = value
	case "PATCH /mmds":
		if s.metadata == nil {
			return http.StatusBadRequest, nil, "The MMDS data store is not initialized."
		}
	case "PATCH /vm":
		s.state = firecracker.Running
		if field(value, "state") == firecracker.StatePaused {
			s.state = firecracker.Paused
		}
	case "PUT /actions":
		if action == string(firecracker.ActionInstanceStart) {
			s.state = firecracker.Running
		}
	case "PUT /snapshot/create":
		if s.state != firecracker.Paused {
			return http.StatusBadRequest, nil, "Create snapshot error: save/restore unavailable while running"
		}
	case "PUT /snapshot/load":
		s.state = firecracker.Paused
	case "GET /balloon":
		return http.StatusBadRequest, nil, "Balloon config error: No balloon device found."
	}
	return 0, out, ""
}

// field returns a text field of a JSON object, "" when there is none.
func field(value any, name string) string {
	object, _ := value.(map[string]any)
	text, _ := object[name].(string)
	return text
}

// deprecation finds the deprecated fields that 1.12 reports.
func deprecation(body []byte) string {
	for _, name := range []string{`"vsock_id"`, `"cpu_template"`, `"mem_file_path":`} {
		if strings.Contains(string(body), name) && !strings.Contains(string(body), `"snapshot_type"`) {
			return "Deprecation: true\r\n"
		}
	}
	return ""
}

func writeFault(w io.Writer, status int, fault string) {
	text, _ := json.Marshal(map[string]string{"fault_message": fault})
	writeAnswer(w, status, "Bad Request", "", string(text))
}

// writeUnreadable is the answer of Firecracker's HTTP parser: not valid JSON.
func writeUnreadable(w io.Writer) {
	writeAnswer(w, http.StatusBadRequest, "Bad Request", "",
		"{ \"error\": \"Request payload is too large or malformed.\nAll previous unanswered requests will be dropped.\" }")
}

// writeBusy is the answer to one connection too many: no reason, not even a space.
func writeBusy(w io.Writer) {
	const body = `{ "error": "Too many open connections" }`
	_, _ = fmt.Fprintf(w, "HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
}

func writeAnswer(w io.Writer, status int, reason, header, body string) {
	length := ""
	if body != "" {
		length = fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	_, _ = fmt.Fprintf(w, "HTTP/1.1 %d %s \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n%s%s\r\n%s", status, reason, header, length, body)
}
