package hardening

import (
	"io/fs"
	"path"
)

var programs = []check{
	{
		name: "jailer", severity: Must, look: checkJailer,
		why: "without it Firecracker is all that stands between a guest and the host",
	},
	{
		name: "programs", severity: Must, look: checkPrograms,
		why: "who can replace Firecracker or its jailer is who runs them",
	},
}

func checkJailer(l *look) {
	f, j := l.Firecracker, l.Jailer
	for _, p := range []Program{f, j} {
		if p.Path != "" {
			l.note(p.Path, p.Version)
		}
	}
	const fix = "smartvm firecracker pull brings both of a release"
	switch {
	case f.Problem != "":
		l.weak(fix, "there is no Firecracker: %s", f.Problem)
	case j.Problem != "":
		l.weak(fix, "there is no jailer: %s", j.Problem)
	case f.Path == "" || j.Path == "" || f.Version == "" || j.Version == "":
		l.unknown("which Firecracker and jailer will run is not known")
	case f.Version != j.Version:
		l.weak(fix+"; use the jailer of the same release", "it is %s, and Firecracker is %s", j.Version, f.Version)
	default:
		l.ok("%s, as Firecracker is", j.Version)
	}
}

// checkPrograms looks at the files and at each directory above.
func checkPrograms(l *look) {
	for _, p := range []Program{l.Firecracker, l.Jailer} {
		if p.Path == "" {
			l.unknown("where Firecracker and its jailer are is not known")
			return
		}
		for at := p.Path; ; at = path.Dir(at) {
			if !l.isSafe(at) {
				return
			}
			if at == "/" {
				break
			}
		}
	}
	l.ok("only root and the user of smartvm may replace them")
}

// isSafe reports whether nobody else may write to a file or directory; where somebody
// may it concludes so.
func (l *look) isSafe(name string) bool {
	f, ok := l.stat(name)
	sticky := f.mode.IsDir() && f.mode&fs.ModeSticky != 0
	switch {
	case !ok:
		return false
	case f.uid != 0 && f.uid != l.UID:
		l.weak("chown root:root "+name, "%s belongs to user %d", name, f.uid)
		return false
	case f.mode.Perm()&0o022 != 0 && !sticky:
		l.weak("chmod go-w "+name, "others may write to %s (%s)", name, f)
		return false
	}
	return true
}
