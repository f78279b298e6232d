package image

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Builder builds images.
type Builder struct {
	Cache   string                      // the folder that keeps downloaded packages
	Refresh func(context.Context) error // updates apt's lists of packages
}

// Build writes the image that a spec describes to an archive, in the format of
// `docker save`.
func (b Builder) Build(ctx context.Context, spec *Spec, archive string) error {
	scratch, err := os.MkdirTemp("", "longtask-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	content, err := b.assemble(ctx, spec, scratch)
	if err != nil {
		return err
	}
	image, err := spec.image(content)
	if err != nil {
		return err
	}
	return write(archive, spec.Name, image)
}

// assemble gathers the image's files: each step may replace what an earlier one
// brought.
func (b Builder) assemble(ctx context.Context, spec *Spec, scratch string) (tree, error) {
	content := newTree()
	if len(spec.Debs) > 0 {
		root := filepath.Join(scratch, "root")
		if err := b.unpackDebs(ctx, spec.Debs, root); err != nil {
			return nil, err
		}
		if err := content.addFrom(root, "/", 0); err != nil {
			return nil, err
		}
	}
	out := filepath.Join(scratch, "out")
	if err := spec.runBuild(ctx, out); err != nil {
		return nil, err
	}
	for _, file := range spec.Files {
		mode, _ := parseMode(file.Mode)
		if err := content.addFrom(spec.source(file.From, out), file.To, mode); err != nil {
			return nil, err
		}
	}
	for _, link := range spec.Links {
		content.addLink(link.Path, link.Target)
	}
	return content, nil
}

func (s *Spec) runBuild(ctx context.Context, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil || s.Build == "" {
		return err
	}
	build := exec.CommandContext(ctx, "sh", "-ec", s.Build)
	build.Dir = s.dir
	build.Env = append(os.Environ(), "OUT="+out)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: build: %w\n%s", s.Name, err, output)
	}
	return nil
}

// source is the place on this machine that a `from` means.
func (s *Spec) source(from, out string) string {
	if below, ok := strings.CutPrefix(from, "$OUT"); ok {
		return filepath.Join(out, below)
	}
	if filepath.IsAbs(from) {
		return from
	}
	return filepath.Join(s.dir, from)
}

func (s *Spec) image(content tree) (v1.Image, error) {
	layer, err := content.layer()
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		Entrypoint: s.Entrypoint, Cmd: s.Command, Env: s.environment(),
		User: s.User, WorkingDir: s.Workdir,
	}
	return mutate.ConfigFile(image, file)
}

func (s *Spec) environment() []string {
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	maps.Copy(env, s.Env)
	var list []string
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}

// write puts the archive in place in one step, so that a build that was cut off
// leaves no half of one.
func write(archive, tag string, image v1.Image) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	unfinished := archive + ".part"
	defer os.Remove(unfinished)
	if err := tarball.WriteToFile(unfinished, ref, image); err != nil {
		return err
	}
	return os.Rename(unfinished, archive)
}
