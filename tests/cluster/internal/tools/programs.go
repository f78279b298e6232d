package tools

import (
	"context"
	"debug/buildinfo"
	"path/filepath"

	"longtask.dev/tests/cluster/internal/progress"
)

// program is made from its Go module, which the module proxy has.
type program struct {
	name, source, version string
}

// programs are of the newest versions when this was written.
var programs = []program{
	{"helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1"},
	{"helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs", "v1.14.2"},
}

// Programs installs helm and what else is made from Go modules into the cache's
// bin folder, unless those versions are there.
func Programs(ctx context.Context, cache string, say *progress.Printer) error {
	bin := filepath.Join(cache, "bin")
	for _, p := range programs {
		if info, err := buildinfo.ReadFile(filepath.Join(bin, p.name)); err == nil && info.Main.Version == p.version {
			continue
		}
		install := func() error {
			return goTool(ctx, ".", []string{"GOBIN=" + bin}, "install", p.source+"@"+p.version)
		}
		if err := say.Step("done", install, "building %s %s (once, up to 2 minutes)", p.name, p.version); err != nil {
			return err
		}
	}
	return nil
}
