package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// checkpoints is $LONGTASK_CHECKPOINT_DIR: a checkpoint of a step is a small tree there whose content follows from the step, so
// that what is restored can be checked byte for byte.
type checkpoints struct {
	directory string
	size      int
}

const restoredDirectory = "restored"

// write makes the tree of a step and returns its path below the directory.
func (c checkpoints) write(step int) (string, error) {
	name := "step-" + strconv.Itoa(step)
	root := filepath.Join(c.directory, name)
	if err := os.MkdirAll(filepath.Join(root, "parts"), 0o755); err != nil {
		return "", err
	}
	err := firstOf(
		os.WriteFile(filepath.Join(root, "step"), []byte(strconv.Itoa(step)), 0o640),
		os.WriteFile(filepath.Join(root, "parts", "data"), content(step, c.size), 0o600),
		os.WriteFile(filepath.Join(root, "parts", "tool"), []byte("#!/bin/sh\n"), 0o755),
		os.WriteFile(filepath.Join(root, "parts", "empty"), nil, 0o644),
		os.MkdirAll(filepath.Join(root, "nothing"), 0o755),
	)
	if os.Remove(filepath.Join(root, "newest")); err == nil {
		err = os.Symlink("parts/data", filepath.Join(root, "newest"))
	}
	return name, err
}

// escape puts a link into a written tree that leads out of the directory.
func (c checkpoints) escape(name, target string) error {
	return os.Symlink(target, filepath.Join(c.directory, name, "escape"))
}

// restored is the step of the tree that was brought back, 0 if there is none. It is an error if anything of it differs from what
// was written.
func (c checkpoints) restored() (int, error) {
	root := filepath.Join(c.directory, restoredDirectory)
	text, err := os.ReadFile(filepath.Join(root, "step"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	step, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, err
	}
	return step, c.check(root, step)
}

func (c checkpoints) check(root string, step int) error {
	data, err := os.ReadFile(filepath.Join(root, "newest"))
	if err != nil {
		return err
	}
	if !bytes.Equal(data, content(step, c.size)) {
		return fmt.Errorf("the data of step %d is not what was written", step)
	}
	var found []string
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case entry.IsDir():
			found = append(found, name+"/")
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			found = append(found, name+" -> "+target)
		default:
			found = append(found, fmt.Sprintf("%s %o", name, info.Mode().Perm()))
		}
		return nil
	})
	want := "newest -> parts/data, nothing/, parts/, parts/data 600, parts/empty 644, parts/tool 755, step 640"
	if have := strings.Join(found, ", "); err == nil && have != want {
		return fmt.Errorf("restored was %s, written was %s", have, want)
	}
	return err
}

// content is bytes that follow from the step and that no compression makes small.
func content(step, size int) []byte {
	source := rand.NewChaCha8([32]byte{byte(step), byte(step >> 8)})
	data := make([]byte, size)
	_, _ = source.Read(data) // never fails
	return data
}
