package tools

import (
	"context"
	"debug/buildinfo"
	"path/filepath"

	"longtask.dev/tests/cluster/internal/progress"
)

// helmVersion is the newest when this was written.
const helmVersion = "v4.3.1"

// Helm installs helm into the cache's bin folder, unless that version is there.
func Helm(ctx context.Context, cache string, say *progress.Printer) error {
	bin := filepath.Join(cache, "bin")
	if info, err := buildinfo.ReadFile(filepath.Join(bin, "helm")); err == nil && info.Main.Version == helmVersion {
		return nil
	}
	install := func() error {
		return goTool(ctx, ".", []string{"GOBIN=" + bin}, "install", "helm.sh/helm/v4/cmd/helm@"+helmVersion)
	}
	return say.Step("done", install, "building helm %s (once, about 2 minutes)", helmVersion)
}
