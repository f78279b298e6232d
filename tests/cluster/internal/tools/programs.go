package tools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"longtask.dev/tests/cluster/internal/progress"
)

// KubernetesVersion is what go.mod requires, as programs print it.
const KubernetesVersion = "1.37.2"

// program is built from this module, whose go.mod has the versions. One module
// for all: Kubernetes, helm, kwok and the collector import much of the same, and
// a package is compiled once if its version is the same.
type program struct {
	name, source string
	aliases      []string // other names under which the program is called
}

var programs = []program{
	{"kube", "./cmd/kube", []string{"kubectl"}},
	{"helm", "helm.sh/helm/v4/cmd/helm", nil},
	{"helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs", nil},
	{"actionlint", "github.com/rhysd/actionlint/cmd/actionlint", nil},
	{"collector", "./cmd/collector", nil},
	{"kwok", "sigs.k8s.io/kwok/cmd/kwok", nil},
}

// errUnknown is of a name that is not among the programs.
var errUnknown = errors.New("no such program")

// Programs builds the programs of these names, unless the cache has them, and
// links them into the cache's bin folder. A program's file is named after what it
// was built from, so that any clone of the repository finds it.
func Programs(ctx context.Context, module, cache string, say *progress.Printer, names ...string) error {
	var missing []program
	for _, name := range names {
		p, err := find(name)
		if err != nil {
			return err
		}
		file, err := p.file(module, cache)
		if err != nil {
			return err
		}
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, p)
		} else if err := p.link(file, cache); err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return say.Step("done", func() error { return build(ctx, module, cache, missing) }, "%s", announcement(missing))
}

// Program is the file of a program that has been built.
func Program(module, cache, name string) (string, error) {
	p, err := find(name)
	if err != nil {
		return "", err
	}
	return p.file(module, cache)
}

func find(name string) (program, error) {
	for _, p := range programs {
		if p.name == name {
			return p, nil
		}
	}
	return program{}, fmt.Errorf("%w: %s", errUnknown, name)
}

func announcement(missing []program) string {
	var names []string
	time := "up to 3 minutes"
	for _, p := range missing {
		name := p.name
		if name == "kube" {
			name, time = "Kubernetes "+KubernetesVersion, "about 8 minutes on 2 cores"
		}
		names = append(names, name)
	}
	return fmt.Sprintf("building %s (once, %s)", strings.Join(names, ", "), time)
}

// build makes all of them by one command, which compiles one program beside the
// linking of another.
func build(ctx context.Context, module, cache string, missing []program) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	args := []string{"build", "-trimpath", "-ldflags", versionFlags(KubernetesVersion), "-o", unfinished + "/"}
	for _, p := range missing {
		args = append(args, p.source)
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	for _, p := range missing {
		file, err := p.file(module, cache)
		if err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(unfinished, p.name), file); err != nil {
			return err
		}
		if err := p.link(file, cache); err != nil {
			return err
		}
	}
	return nil
}

// file is where the program is kept. Its name has a hash of the files that decide
// what the program is.
func (p program) file(module, cache string) (string, error) {
	hash := sha256.New()
	sources := []string{"go.mod"}
	if strings.HasPrefix(p.source, "./") {
		sources = append(sources, p.source+"/main.go")
	}
	for _, source := range sources {
		text, err := os.ReadFile(filepath.Join(module, source))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return filepath.Join(cache, fmt.Sprintf("%s-%x", p.name, hash.Sum(nil)[:6])), nil
}

func (p program) link(file, cache string) error {
	for _, name := range append([]string{p.name}, p.aliases...) {
		if err := link(file, filepath.Join(cache, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// versionFlags stamp the version, which Kubernetes' own build takes from git.
func versionFlags(version string) string {
	numbers := strings.Split(version, ".")
	const server, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
	return strings.Join([]string{"-s -w",
		"-X " + server + ".gitVersion=v" + version,
		"-X " + server + ".gitMajor=" + numbers[0],
		"-X " + server + ".gitMinor=" + numbers[1],
		"-X " + client + ".gitVersion=v" + version,
	}, " ")
}

// link points a symbolic link somewhere, in one step.
func link(target, name string) error {
	if current, err := os.Readlink(name); err == nil && current == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	unfinished := name + ".part"
	os.Remove(unfinished)
	if err := os.Symlink(target, unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, name)
}
