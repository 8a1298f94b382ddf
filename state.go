package smartvm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// State is where a VM is in its life. A VM lives once: after stopped or error
// only Cleanup is left.
type State string

// The states.
const (
	// Created: validated and registered; nothing exists on the host yet.
	Created State = "created"
	// Configuring: Firecracker has been started, the guest has not.
	Configuring State = "configuring"
	// Running: the guest runs.
	Running State = "running"
	// Paused: the guest's vCPUs stand still, and its devices with them.
	Paused State = "paused"
	// Stopped: Firecracker has ended as it was asked to, by us or by its guest.
	Stopped State = "stopped"
	// Failed: a start failed, or Firecracker ended in another way.
	Failed State = "error"
)

// operation is something that is only allowed in some states.
type operation string

const (
	opStart          operation = "start"
	opLaunch         operation = "launch"
	opLoadSnapshot   operation = "load snapshot"
	opPause          operation = "pause"
	opResume         operation = "resume"
	opStop           operation = "stop"
	opInfo           operation = "get info"
	opSecurity       operation = "look at security"
	opSetMetadata    operation = "set metadata"
	opGetMetadata    operation = "get metadata"
	opUpdate         operation = "update device"
	opCreateSnapshot operation = "create snapshot"
	opSnapshot       operation = "take snapshot"
	opDetach         operation = "detach"
	opConsole        operation = "use console"
	opWait           operation = "wait"
)

// allowed is the one table of what may be done when.
var allowed = map[operation][]State{
	opStart:          {Created},
	opLaunch:         {Created},
	opLoadSnapshot:   {Created, Configuring},
	opPause:          {Running},
	opResume:         {Paused},
	opStop:           {Configuring, Running, Paused},
	opInfo:           {Configuring, Running, Paused},
	opSecurity:       {Configuring, Running, Paused},
	opSetMetadata:    {Running, Paused},
	opGetMetadata:    {Running, Paused},
	opUpdate:         {Running, Paused},
	opCreateSnapshot: {Paused},
	opSnapshot:       {Running, Paused},
	opDetach:         {Configuring, Running, Paused},
	opConsole:        {Configuring, Running, Paused, Stopped, Failed},
	opWait:           {Configuring, Running, Paused, Stopped, Failed},
}

// check returns an INVALID_STATE error unless op is allowed in s.
func (s State) check(op operation, id string) error {
	if slices.Contains(allowed[op], s) {
		return nil
	}
	names := make([]string, len(allowed[op]))
	for i, state := range allowed[op] {
		names[i] = string(state)
	}
	return &Error{
		Code: errcode.InvalidState, Op: string(op), Subject: id,
		Err: fmt.Errorf("the VM is %s; this is allowed when it is %s", s, strings.Join(names, " or ")),
	}
}

// alive reports whether a Firecracker process belongs to the state.
func (s State) alive() bool { return s == Configuring || s == Running || s == Paused }

// fromFirecracker translates what Firecracker reports.
func fromFirecracker(s firecracker.InstanceState) State {
	switch s {
	case firecracker.Running:
		return Running
	case firecracker.Paused:
		return Paused
	default:
		return Configuring
	}
}
