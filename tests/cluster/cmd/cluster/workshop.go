package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"longtask.dev/tests/cluster/internal/image"
	"longtask.dev/tests/cluster/internal/progress"
	"longtask.dev/tests/cluster/internal/tools"
)

// workshop is where things are made: this module's sources, and the user's cache
// for what is expensive. Every clone of the repository uses the same cache.
type workshop struct {
	module string
	cache  string
	say    *progress.Printer
}

func newWorkshop(module string) (*workshop, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	return &workshop{module, filepath.Join(cache, "longtask"), progress.To(os.Stdout)}, nil
}

// kubeconfig is where clients find the way to the cluster, kind's or ours.
func (w *workshop) kubeconfig() string { return filepath.Join(w.cache, "kubeconfig") }

func (w *workshop) pauseFile() string { return filepath.Join(w.module, "images", "pause.yaml") }

// tools installs what is missing of the system's packages and of these programs.
func (w *workshop) tools(ctx context.Context, programs ...string) error {
	if chosen() != "kind" { // whose nodes bring all that a node needs
		if err := tools.Packages(ctx, w.say); err != nil {
			return err
		}
	}
	return w.programs(ctx, programs...)
}

// programs builds those of these programs that are missing.
func (w *workshop) programs(ctx context.Context, names ...string) error {
	return tools.Programs(ctx, w.module, w.cache, w.say, names...)
}

// build makes the archives of image files.
func (w *workshop) build(ctx context.Context, files []string) error {
	for _, file := range files {
		archive, err := w.buildImage(ctx, file)
		if err != nil {
			return err
		}
		w.say.Say("%s", archive)
	}
	return nil
}

func (w *workshop) buildImage(ctx context.Context, file string) (archive string, err error) {
	spec, err := image.Read(file)
	if err != nil {
		return "", err
	}
	builder := image.Builder{Cache: w.cache, Refresh: func(ctx context.Context) error { return tools.Refresh(ctx, progress.Quiet()) }}
	archive = w.archive(spec.Name)
	return archive, w.say.Step("done", func() error { return builder.Build(ctx, spec, archive) }, "building the image %s", spec.Name)
}

// archive is where the image of a name is kept.
func (w *workshop) archive(name string) string {
	return filepath.Join(w.cache, "images", strings.NewReplacer("/", "_", ":", "_").Replace(name)+".tar")
}

// load puts images on the node, building those that are given as image files.
func (w *workshop) load(ctx context.Context, images []string) error {
	target := w.target(ctx)
	for _, given := range images {
		archive, err := w.find(ctx, given)
		if err != nil {
			return err
		}
		if err := target.load(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// find gives the archive that an argument of `load` means.
func (w *workshop) find(ctx context.Context, given string) (string, error) {
	switch filepath.Ext(given) {
	case ".yaml", ".yml":
		return w.buildImage(ctx, given)
	case ".tar":
		return filepath.Abs(given)
	}
	archive := w.archive(given)
	if _, err := os.Stat(archive); err != nil {
		return "", fmt.Errorf("no image %s has been built (`cluster image build FILE`)", given)
	}
	return archive, nil
}
