package local

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// withRuntime talks to containerd as the kubelet does.
func withRuntime(ctx context.Context, timeout time.Duration, do func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+containerdSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	return do(ctx, connection)
}

func runtimeReady(ctx context.Context) error {
	return withRuntime(ctx, probeTimeout, func(ctx context.Context, connection *grpc.ClientConn) error {
		_, err := cri.NewRuntimeServiceClient(connection).Version(ctx, &cri.VersionRequest{})
		return err
	})
}

func hasImage(ctx context.Context, image string) (bool, error) {
	var found bool
	err := withRuntime(ctx, probeTimeout, func(ctx context.Context, connection *grpc.ClientConn) error {
		status, err := cri.NewImageServiceClient(connection).ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
		found = status.GetImage() != nil
		return err
	})
	return found, err
}

// removePods stops and removes every pod with its containers, their network and
// their file systems: only the runtime knows all that belongs to one.
func removePods(ctx context.Context) error {
	return withRuntime(ctx, time.Minute, func(ctx context.Context, connection *grpc.ClientConn) error {
		runtime := cri.NewRuntimeServiceClient(connection)
		pods, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		var failed []error
		for _, pod := range pods.Items {
			_, stopped := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.Id})
			_, removed := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.Id})
			failed = append(failed, stopped, removed)
		}
		return errors.Join(failed...)
	})
}
