package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartvm/smartvm/errcode"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// problem is an error as the user is told.
type problem struct {
	Code    errcode.Code     `json:"code,omitempty"`
	Message string           `json:"message"`
	Details []errcode.Detail `json:"details,omitempty"`
	Hint    string           `json:"hint,omitempty"`

	cause error // for the hint, when neither the error nor the command line has one
}

// exit reports err and returns the exit code. A reader of our output that has
// seen enough (smartvm ps | head -1) is no failure.
func (a *app) exit(cmd *cobra.Command, err error) int {
	problems := problemsOf(err)
	if len(problems) == 0 {
		return exitOK
	}
	_, wrong := errors.AsType[usageError](err)
	wrong = wrong || !a.began
	for i := range problems {
		if wrong {
			problems[i].Hint = cmp.Or(problems[i].Hint, "try: "+cmd.CommandPath()+" --help")
		}
		problems[i].Hint = cmp.Or(problems[i].Hint, usualHint(problems[i].cause, cmd.CommandPath()))
	}
	if a.asJSON {
		text, _ := json.Marshal(map[string][]problem{"errors": problems})
		a.say("%s", text)
	} else {
		for i := range problems {
			a.say("%s", &problems[i])
		}
	}
	if wrong {
		return exitUsage
	}
	return exitFailure
}

// String returns "error: ...", the details and "hint: ...", a line each.
func (p *problem) String() string {
	var b strings.Builder
	b.WriteString("error: " + p.Message)
	for _, d := range p.Details {
		b.WriteString("\n  " + d.String())
	}
	if p.Hint != "" {
		b.WriteString("\nhint: " + p.Hint)
	}
	return b.String()
}

// problemsOf takes joined errors apart, such as those of several VMs.
func problemsOf(err error) []problem {
	if usage, ok := err.(usageError); ok { //nolint:errorlint // only the outermost
		err = usage.error
	}
	if err == nil || err == errReaderGone { //nolint:errorlint // only this one, not what it was joined with
		return nil
	}
	if list := joined(err); list != nil {
		var all []problem
		for _, e := range list {
			all = append(all, problemsOf(e)...)
		}
		return all
	}
	p := problem{Code: errcode.Of(err, ""), cause: err}
	p.Message = p.absorb(err)
	return []problem{p}
}

// absorb returns err's text without its hints and details, which go into p.
func (p *problem) absorb(err error) string {
	if e, ok := err.(*errcode.Error); ok { //nolint:errorlint // layer by layer
		return p.absorbError(e)
	}
	if list := joined(err); list != nil {
		texts := make([]string, len(list))
		for i, e := range list {
			texts[i] = p.absorb(e)
		}
		return strings.Join(texts, "; ")
	}
	text := err.Error()
	if inner := errors.Unwrap(err); inner != nil {
		if prefix, ok := strings.CutSuffix(text, inner.Error()); ok {
			text = prefix + p.absorb(inner)
		}
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

func (p *problem) absorbError(e *errcode.Error) string {
	p.Hint = cmp.Or(p.Hint, e.Hint)
	text := strings.TrimSpace(e.Op+" "+e.Subject) + ": "
	switch {
	case e.Err != nil:
		text += p.absorb(e.Err)
	case len(e.Details) == 0:
		text += strings.ReplaceAll(strings.ToLower(string(e.Code)), "_", " ")
	case len(e.Details) == 1:
		return text + e.Details[0].String()
	default:
		text += fmt.Sprintf("%d mistakes", len(e.Details))
	}
	p.Details = append(p.Details, e.Details...)
	return text
}

// joined returns the parts of what errors.Join has made, nil for all else.
func joined(err error) []error {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	texts := make([]string, len(list.Unwrap()))
	for i, e := range list.Unwrap() {
		texts[i] = e.Error()
	}
	if strings.Join(texts, "\n") != err.Error() {
		return nil // fmt.Errorf with several %w has words of its own
	}
	return list.Unwrap()
}

// usualHint says what to try where the error of a command itself does not know.
func usualHint(err error, command string) string {
	if errors.Is(err, context.Canceled) {
		return "run it again: what was begun has been undone, and downloads go on where they ended"
	}
	switch errcode.Of(err, "") {
	case "":
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return "check the path and who may use it"
		}
		return "smartvm doctor checks this host"
	case errcode.InvalidState, errcode.VMNotFound, errcode.VMOwned, errcode.NoClient:
		return "smartvm ps shows every VM and its state"
	case errcode.InvalidConfig:
		return "correct what is named above; " + command + " --help has examples"
	case errcode.APIError, errcode.UnsupportedVersion:
		return "smartvm inspect NAME shows the VM's devices and its Firecracker's version"
	case errcode.VMExists:
		return "choose another name, or remove that VM: smartvm rm NAME"
	default:
		return imageHint(errcode.Of(err, ""))
	}
}

// imageHint is usualHint for what is about images and downloads.
func imageHint(code errcode.Code) string {
	switch code {
	case errcode.DownloadFailed, errcode.VersionFetchFailed, errcode.BaseImageManifestFailed:
		return "check the URL and the network; smartvm help environment has mirrors, proxies and offline use"
	case errcode.BaseImageResolveFailed:
		return "smartvm image --help says what an image can be, smartvm image ls what is there"
	case errcode.InvalidBaseImageManifest:
		return "correct what is named above"
	case errcode.BinaryNotFound:
		return "smartvm firecracker ls lists what is there"
	case errcode.NoSpace:
		return "free some room: smartvm image ls and smartvm firecracker ls list what could go"
	default:
		return "smartvm doctor checks this host"
	}
}
