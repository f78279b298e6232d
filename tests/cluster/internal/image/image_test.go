package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestParse(t *testing.T) {
	cases := []struct{ name, text, wrong string }{
		{"the least", "name: localhost/a:1", ""},
		{"a misspelt field", "name: localhost/a:1\nentry: [a]", "unknown field"},
		{"no name", "user: '1'", "name"},
		{"a relative place", "name: localhost/a:1\nfiles: [{from: a, to: b}]", "absolute path"},
		{"nothing to copy", "name: localhost/a:1\nfiles: [{to: /b}]", "from is missing"},
		{"a mode that YAML made a number", "name: localhost/a:1\nfiles: [{from: a, to: /b, mode: 0755}]", "mode"},
		{"a mode that is none", "name: localhost/a:1\nfiles: [{from: a, to: /b, mode: 'rwx'}]", "octal"},
		{"a link without a target", "name: localhost/a:1\nlinks: [{path: /a}]", "target"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse([]byte(c.text))
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheReadmesExampleIsValid(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(readme)
	if example == nil {
		t.Fatal("the README has no example")
	}
	if _, err := parse(example[1]); err != nil {
		t.Error(err)
	}
}

func TestTheSameInputGivesTheSameImage(t *testing.T) {
	var digests []string
	for range 2 {
		dir := t.TempDir() // another folder, with other times
		put(t, filepath.Join(dir, "data", "deep", "b"), "b", 0o600)
		put(t, filepath.Join(dir, "data", "a"), "a", 0o755)
		put(t, filepath.Join(dir, "image.yaml"), `
name: localhost/test:1
build: echo built > $OUT/made
files:
- {from: data, to: /data}
- {from: $OUT/made, to: /bin/made, mode: "0755"}
links: [{path: /bin/sh, target: made}]
entrypoint: [/bin/made]
env: {B: "2", A: "1"}
`, 0o644)
		spec, err := Read(filepath.Join(dir, "image.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(dir, "out", "image.tar")
		if err := (Builder{Cache: dir}).Build(t.Context(), spec, archive); err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(archive, nil)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("got %q", digests)
	}
}

func TestAFailingBuildSaysWhy(t *testing.T) {
	spec, err := parse([]byte("name: localhost/test:1\nbuild: echo no compiler; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	err = spec.runBuild(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "no compiler") {
		t.Errorf("got %v", err)
	}
}

func TestFilesLandWhereLinksLead(t *testing.T) {
	cases := []struct{ path, want string }{
		{"/bin/x", "usr/bin/x"},
		{"/lib/a/b", "usr/lib/a/b"},
		{"/app/x", "app/x"},
		{"/absolute/x", "usr/bin/x"},
		{"/loop/x", "loop/x"},
		{"/../x", "x"},
		{"/bin", "bin"},
	}
	content := newTree()
	content.addLink("/absolute", "/bin")
	content.addLink("/loop", "loop")
	for _, c := range cases {
		if got := content.resolve(c.path); got != c.want {
			t.Errorf("%s: got %s, want %s", c.path, got, c.want)
		}
	}
}

func TestLayer(t *testing.T) {
	content := newTree()
	content.addDir("/lib", 0o755) // as packages bring it
	content.add("/opt/deep/tool", entry{kind: tar.TypeReg, mode: 0o4755, text: "x"})
	var archive bytes.Buffer
	if err := content.writeTar(&archive); err != nil {
		t.Fatal(err)
	}
	var names []string
	for reader := tar.NewReader(&archive); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d, time %s", header.Name, header.Uid, header.ModTime)
		}
		if header.Name == "lib" && header.Typeflag != tar.TypeSymlink {
			t.Error("a folder has replaced the link /lib")
		}
		if header.Name == "opt/deep/tool" && header.Mode != 0o4755 {
			t.Errorf("mode %o", header.Mode)
		}
		names = append(names, header.Name)
	}
	if !slices.IsSortedFunc(names, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
	}) {
		t.Errorf("not sorted: %q", names)
	}
	if !slices.Contains(names, "opt/deep/") {
		t.Errorf("a folder is missing: %q", names)
	}
}

func TestArchiveNames(t *testing.T) {
	const said = `Reading package lists...
'http://host/pool/tar_1.34_amd64.deb' tar_1.34_amd64.deb 836288 MD5Sum:1
'http://host/pool/zlib1g_1.2_amd64.deb' zlib1g_1%3a1.2_amd64.deb 86684 MD5Sum:2
`
	want := []string{"tar_1.34_amd64.deb", "zlib1g_1%3a1.2_amd64.deb"}
	if got := archiveNames(said); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func put(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
