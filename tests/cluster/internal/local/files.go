package local

import (
	"bytes"
	"fmt"
	"os"
)

// file is a part of the configuration.
type file struct {
	path string
	text []byte
	mode os.FileMode
}

// configuration is all that the components read and do not write.
func configuration() ([]file, error) {
	files, err := kubeconfigs(pkiFile(""), kubeconfigFile)
	if err != nil {
		return nil, err
	}
	for _, render := range []func() (file, error){containerdFile, cniFile, kubeletFile} {
		rendered, err := render()
		if err != nil {
			return nil, err
		}
		files = append(files, rendered)
	}
	return files, nil
}

// configured says which file is not as it should be. The runtime reads the one of
// the network again while it runs; the others are for the next start.
func configured() error {
	files, err := configuration()
	if err != nil {
		return err
	}
	return inPlace(files)
}

func inPlace(files []file) error {
	for _, file := range files {
		if text, err := os.ReadFile(file.path); err != nil || !bytes.Equal(text, file.text) {
			return fmt.Errorf("%s is missing or has been changed", file.path)
		}
	}
	return nil
}

func configure() error {
	files, err := configuration()
	if err != nil {
		return err
	}
	return writeAll(files)
}

func writeAll(files []file) error {
	for _, file := range files {
		if err := writeFile(file.path, file.text, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file in one step: a reader sees the old text or the new.
func writeFile(file string, text []byte, mode os.FileMode) error {
	unfinished := file + ".part"
	if err := os.WriteFile(unfinished, text, mode); err != nil {
		return err
	}
	return os.Rename(unfinished, file)
}
