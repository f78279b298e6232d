package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileThatIsLostOrChangedIsNotInPlace(t *testing.T) {
	damages := map[string]func(path string) error{
		"lost":    os.Remove,
		"changed": func(path string) error { return os.WriteFile(path, []byte("x"), 0o644) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := []file{
				{filepath.Join(dir, "a"), []byte("a"), 0o644},
				{filepath.Join(dir, "b"), []byte("b"), 0o600},
			}
			if err := writeAll(files); err != nil {
				t.Fatal(err)
			}
			if err := inPlace(files); err != nil {
				t.Fatal(err)
			}
			if err := damage(files[1].path); err != nil {
				t.Fatal(err)
			}
			if err := inPlace(files); err == nil || !strings.Contains(err.Error(), files[1].path) {
				t.Errorf("got %v", err)
			}
		})
	}
}
