package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// layer makes one layer of the whole tree.
func (t tree) layer() (v1.Layer, error) {
	var content bytes.Buffer
	if err := t.writeTar(&content); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	// The image goes no further than this machine: time is worth more than size.
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
}

// writeTar writes the tree sorted by name, owned by root and without times, so
// that the same content has the same digest.
func (t tree) writeTar(to io.Writer) error {
	archive := tar.NewWriter(to)
	for _, name := range t.names() {
		if err := t[name].writeTar(archive, name); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (e entry) writeTar(to *tar.Writer, name string) error {
	content, err := e.content()
	if err != nil {
		return err
	}
	header := &tar.Header{
		Typeflag: e.kind, Name: name, Mode: e.mode, Linkname: e.target,
		Size: int64(len(content)), ModTime: time.Unix(0, 0),
	}
	if e.kind == tar.TypeDir {
		header.Name += "/"
	}
	if err := to.WriteHeader(header); err != nil {
		return err
	}
	_, err = to.Write(content)
	return err
}

func (e entry) content() ([]byte, error) {
	if e.source == "" {
		return []byte(e.text), nil
	}
	return os.ReadFile(e.source)
}
