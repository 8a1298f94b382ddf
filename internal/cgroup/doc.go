// Package cgroup limits what a VM takes from its host, by a control group of
// version 2 around its processes.
//
// [New] finds the tree of groups, and says what is missing if it can't hold the
// limits. The [Group] that it returns is a resource of a ledger: [Group.Create] is
// its effect, [Group.Open] gives the descriptor with which a process starts inside,
// [Group.Status] reads what the kernel enforces and has counted, and
// [Group.Release] ends whatever is left in the group and removes it.
//
// A group is MOUNT/PARENT/NAME.RANDOM. The random part is recorded before the group
// exists, so whatever has that name is the group of that record, and no other. The
// parents that smartvm makes are marked, and go with the last group in them.
//
// What the files mean is said by the kernel's Documentation/admin-guide/cgroup-v2.rst.
package cgroup
