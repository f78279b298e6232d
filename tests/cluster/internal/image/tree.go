package image

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is the content of an image's file system: entries by path, without a
// leading slash. The same entries always make the same layer.
type tree map[string]entry

type entry struct {
	kind   byte // tar.TypeReg, TypeDir or TypeSymlink
	mode   int64
	target string // of a symbolic link
	source string // the file that holds the content; empty when text does
	text   string
}

// Names that every image has. /bin and its like are links into /usr, as in the
// distributions whose packages may be unpacked over them.
func newTree() tree {
	t := tree{}
	for _, dir := range []string{"dev", "etc", "proc", "run", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var"} {
		t.addDir(dir, 0o755)
	}
	for _, name := range []string{"bin", "lib", "lib64", "sbin"} {
		t.addLink(name, "usr/"+name)
	}
	t.addDir("tmp", 0o1777)
	t.addText("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n")
	t.addText("etc/group", "root:x:0:\nnonroot:x:65532:\n")
	return t
}

func (t tree) addDir(name string, mode int64) {
	t.add(name, entry{kind: tar.TypeDir, mode: mode})
}

func (t tree) addLink(name, target string) {
	t.add(name, entry{kind: tar.TypeSymlink, mode: 0o777, target: target})
}

func (t tree) addText(name, text string) {
	t.add(name, entry{kind: tar.TypeReg, mode: 0o644, text: text})
}

// add puts an entry at its place, with the folders that lead there.
func (t tree) add(name string, e entry) {
	name = t.resolve(name)
	if e.kind == tar.TypeDir && t[name].kind == tar.TypeSymlink {
		return // a package's own /lib does not replace the link to /usr/lib
	}
	for dir := path.Dir(name); dir != "." && t[dir].kind == 0; dir = path.Dir(dir) {
		t[dir] = entry{kind: tar.TypeDir, mode: 0o755}
	}
	t[name] = e
}

// resolve follows the links among the folders of a path, so that a file for
// /bin/x lands in /usr/bin. The last part is left alone.
func (t tree) resolve(name string) string {
	parts := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at := ""
	for _, part := range parts[:len(parts)-1] {
		at = t.follow(path.Join(at, part))
	}
	return path.Join(at, parts[len(parts)-1])
}

// follow gives the place that a chain of links ends at. Forty is where the
// kernel calls it a loop.
func (t tree) follow(name string) string {
	for range 40 {
		link, isLink := t[name]
		if !isLink || link.kind != tar.TypeSymlink {
			break
		}
		if path.IsAbs(link.target) {
			name = strings.Trim(path.Clean(link.target), "/")
		} else {
			name = path.Join(path.Dir(name), link.target)
		}
	}
	return name
}

// addFrom copies a file or a folder of this machine. A mode other than 0
// replaces that of files; folders keep theirs.
func (t tree) addFrom(source, name string, mode int64) error {
	return filepath.WalkDir(source, func(file string, found fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		return t.addFile(file, path.Join(name, filepath.ToSlash(below)), mode)
	})
}

func (t tree) addFile(file, name string, mode int64) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if path.Clean("/"+name) != "/" {
			t.addDir(name, tarMode(info.Mode()))
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		t.addLink(name, target)
	case info.Mode().IsRegular():
		if mode == 0 {
			mode = tarMode(info.Mode())
		}
		t.add(name, entry{kind: tar.TypeReg, mode: mode, source: file})
	default:
		return fmt.Errorf("%s is neither a file, a folder nor a link", file)
	}
	return nil
}

// tarMode is the Unix mode, of which Go keeps the high bits elsewhere.
func tarMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	for special, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&special != 0 {
			bits |= bit
		}
	}
	return bits
}

func (t tree) names() []string { return slices.Sorted(maps.Keys(t)) }
