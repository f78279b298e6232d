package tools

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"longtask.dev/tests/cluster/internal/progress"
)

// KubernetesVersion is what go.mod requires, as programs print it.
const KubernetesVersion = "1.37.2"

// Kube builds the program that is all of Kubernetes, unless the cache has it,
// and makes it the kubectl of the cache's bin folder. The build is expensive:
// its name tells what it was built from, so that any clone of the repository
// finds it.
func Kube(ctx context.Context, module, cache string, say *progress.Printer) (string, error) {
	source, err := sourceHash(module)
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, fmt.Sprintf("kube-%s-%s", KubernetesVersion, source))
	if _, err := os.Stat(program); err != nil {
		build := func() error { return buildKube(ctx, module, program) }
		if err := say.Step("done", build, "building Kubernetes %s (once, about 6 minutes)", KubernetesVersion); err != nil {
			return "", err
		}
	}
	return program, link(program, filepath.Join(cache, "bin", "kubectl"))
}

// sourceHash is of the files that decide what the program is.
func sourceHash(module string) (string, error) {
	hash := sha256.New()
	for _, file := range []string{"go.mod", "cmd/kube/main.go"} {
		text, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}

func buildKube(ctx context.Context, module, program string) error {
	unfinished := program + ".part"
	defer os.Remove(unfinished)
	err := goTool(ctx, module, nil, "build", "-trimpath", "-ldflags", versionFlags(KubernetesVersion), "-o", unfinished, "./cmd/kube")
	if err != nil {
		return err
	}
	return os.Rename(unfinished, program)
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
