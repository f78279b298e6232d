package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What a container has no use for and packages bring much of.
var notNeeded = []string{"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"}

// unpackDebs fetches packages with all that they depend on, and unpacks them.
// Their maintainer scripts do not run: nothing here has a root file system to
// run them in.
func (b Builder) unpackDebs(ctx context.Context, packages []string, root string) error {
	if err := linkUsr(root); err != nil {
		return err
	}
	debs, err := b.download(ctx, packages)
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if output, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, output)
		}
	}
	for _, dir := range notNeeded {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

// linkUsr makes the links that a distribution makes before the first package is
// unpacked: packages put files in /lib and expect to find them in /usr/lib.
func linkUsr(root string) error {
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", dir), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

// download gives the archives of packages and of all that they depend on, in the
// order in which they unpack.
func (b Builder) download(ctx context.Context, packages []string) ([]string, error) {
	names, err := b.resolve(ctx, packages)
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(b.Cache, "debs")
	debs := make([]string, len(names))
	for i, name := range names {
		debs[i] = filepath.Join(cache, name)
	}
	if allExist(debs) {
		return debs, nil
	}
	if output, err := aptInstall(ctx, cache, "--download-only", packages); err != nil {
		return nil, fmt.Errorf("download of %s: %w\n%s", strings.Join(packages, ", "), err, output)
	}
	return debs, nil
}

// resolve asks apt for the names of the archives. It leaves out what it finds
// downloaded, so it is shown an empty folder. A machine that was never asked for
// a package has no lists of them: they are fetched once.
func (b Builder) resolve(ctx context.Context, packages []string) ([]string, error) {
	empty, err := os.MkdirTemp("", "longtask-debs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(empty)
	output, err := aptInstall(ctx, empty, "--print-uris", packages)
	if err != nil && b.Refresh != nil {
		if err := b.Refresh(ctx); err != nil {
			return nil, err
		}
		output, err = aptInstall(ctx, empty, "--print-uris", packages)
	}
	if err != nil {
		return nil, fmt.Errorf("find the packages of %s: %w\n%s", strings.Join(packages, ", "), err, output)
	}
	return archiveNames(string(output)), nil
}

// archiveNames reads lines such as
//
//	'http://…/tar_1.34_amd64.deb' tar_1.34_amd64.deb 836288 MD5Sum:…
func archiveNames(uris string) []string {
	var names []string
	for line := range strings.Lines(uris) {
		if fields := strings.Fields(line); len(fields) >= 3 && strings.HasPrefix(line, "'") {
			names = append(names, fields[1])
		}
	}
	return names
}

// aptInstall lets apt do what it does best: find what a package depends on,
// fetch it and verify it. It is told that nothing is installed yet, which makes
// the answer the same on every machine, and given a folder of its own and no
// lock, for which it needs no root rights.
func aptInstall(ctx context.Context, archives, action string, packages []string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil {
		return nil, err
	}
	args := []string{"install", "--yes", "--no-install-recommends", action,
		"-o", "Dir::State::status=/dev/null",
		"-o", "Dir::Cache::archives=" + archives,
		"-o", "Debug::NoLocking=1",
		"-o", "APT::Sandbox::User="}
	command := exec.CommandContext(ctx, "apt-get", append(args, packages...)...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	return command.CombinedOutput()
}

func allExist(files []string) bool {
	return !slices.ContainsFunc(files, func(file string) bool {
		_, err := os.Stat(file)
		return err != nil
	})
}
