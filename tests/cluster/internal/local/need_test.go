package local

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestTheFirstThingThatIsMissingIsNamed(t *testing.T) {
	there := func(context.Context) error { return nil }
	lost := func(context.Context) error { return errMissing }
	if err := firstMissing(t.Context(), []need{{"a", there}, {"b", there}}); err != nil {
		t.Errorf("got %v", err)
	}
	err := firstMissing(t.Context(), []need{{"a", there}, {"b", lost}, {"c", lost}})
	if !errors.Is(err, errMissing) || !strings.HasPrefix(err.Error(), "b: ") {
		t.Errorf("got %v", err)
	}
}

func TestUpLooksForWhatCanBeLostWhileTheComponentsRun(t *testing.T) {
	var names []string
	for _, need := range (Cluster{}).needs(nil) {
		names = append(names, need.name)
	}
	for _, name := range []string{"image " + PauseImage, "configuration", "cgroup", "bridge", "firewall", "node " + nodeName} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %q", name, names)
		}
	}
}

// images is a runtime that has these images, and does nothing else.
type images struct {
	cri.UnimplementedImageServiceServer
	names []string
}

func (i images) ImageStatus(_ context.Context, request *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	if !slices.Contains(i.names, request.GetImage().GetImage()) {
		return &cri.ImageStatusResponse{}, nil
	}
	return &cri.ImageStatusResponse{Image: &cri.Image{Id: "sha256:1"}}, nil
}

func TestAnImageThatTheRuntimeDoesNotHaveIsMissing(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "runtime.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterImageServiceServer(server, images{names: []string{"localhost/other:1"}})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	node := runtime(socket)
	if err := node.hasImage(t.Context(), "localhost/other:1"); err != nil {
		t.Errorf("got %v", err)
	}
	if err := node.hasImage(t.Context(), PauseImage); !errors.Is(err, errMissing) {
		t.Errorf("got %v", err)
	}
	silent := runtime(filepath.Join(t.TempDir(), "nobody.sock"))
	if err := silent.hasImage(t.Context(), PauseImage); err == nil || errors.Is(err, errMissing) {
		t.Errorf("a runtime that does not answer has said nothing of its images; got %v", err)
	}
}

// answers is an API server that always gives the same answer.
type answers int

func (code answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(code), Status: http.StatusText(int(code)), Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func TestANodeThatIsDeletedIsToldFromOneThatIsNotReady(t *testing.T) {
	for code, deleted := range map[int]bool{http.StatusNotFound: true, http.StatusOK: false, http.StatusServiceUnavailable: false} {
		api := &client{&http.Client{Transport: answers(code)}}
		err := nodeReady(t.Context(), api, time.Time{})
		if err == nil || isNotFound(err) != deleted {
			t.Errorf("%d: got %v", code, err)
		}
	}
}
