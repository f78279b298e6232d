// Package image builds container images from small files, without a registry, a
// Docker engine or root rights.
package image

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/google/go-containerregistry/pkg/name"
	"sigs.k8s.io/yaml"
)

// Spec is an image file, as documented in tests/cluster/README.md.
type Spec struct {
	Name       string            `json:"name"`
	Build      string            `json:"build,omitempty"`
	Debs       []string          `json:"debs,omitempty"`
	Files      []Copy            `json:"files,omitempty"`
	Links      []Link            `json:"links,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Command    []string          `json:"command,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	User       string            `json:"user,omitempty"`
	Workdir    string            `json:"workdir,omitempty"`

	// dir is the folder of the file, which its paths are relative to.
	dir string
}

// Copy puts a file, or a folder with all that is in it, into the image.
type Copy struct {
	From string `json:"from"`
	To   string `json:"to"`
	Mode string `json:"mode,omitempty"`
}

// Link is a symbolic link in the image.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Read reads and checks an image file.
func Read(file string) (*Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	spec, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	spec.dir, err = filepath.Abs(filepath.Dir(file))
	return spec, err
}

func parse(text []byte) (*Spec, error) {
	var spec Spec
	if err := yaml.UnmarshalStrict(text, &spec); err != nil {
		return nil, err
	}
	return &spec, spec.check()
}

// check reports everything that is wrong at once.
func (s *Spec) check() error {
	var wrong []error
	if _, err := name.NewTag(s.Name); err != nil {
		wrong = append(wrong, fmt.Errorf("name: %w", err))
	}
	for i, file := range s.Files {
		if file.From == "" {
			wrong = append(wrong, fmt.Errorf("files[%d]: from is missing", i))
		}
		if !path.IsAbs(file.To) {
			wrong = append(wrong, fmt.Errorf("files[%d]: to must be an absolute path, not %q", i, file.To))
		}
		if _, err := parseMode(file.Mode); err != nil {
			wrong = append(wrong, fmt.Errorf("files[%d]: %w", i, err))
		}
	}
	for i, link := range s.Links {
		if !path.IsAbs(link.Path) || link.Target == "" {
			wrong = append(wrong, fmt.Errorf("links[%d]: wants an absolute path and a target", i))
		}
	}
	return errors.Join(wrong...)
}

// parseMode reads an octal file mode; 0 means "as the file has it".
func parseMode(mode string) (int64, error) {
	if mode == "" {
		return 0, nil
	}
	bits, err := strconv.ParseInt(mode, 8, 64)
	if err != nil || bits < 1 || bits > 0o7777 {
		return 0, fmt.Errorf(`mode must be octal digits in quotes, such as "0755", not %q`, mode)
	}
	return bits, nil
}
