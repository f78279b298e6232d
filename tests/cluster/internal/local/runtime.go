package local

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runtime is a container runtime, by the socket on which it listens.
type runtime string

// onNode is the cluster's own.
const onNode = runtime(containerdSocket)

// with talks to the runtime as the kubelet does.
func (r runtime) with(ctx context.Context, timeout time.Duration, do func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+string(r), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	return do(ctx, connection)
}

func (r runtime) ready(ctx context.Context) error {
	return r.with(ctx, probeTimeout, func(ctx context.Context, connection *grpc.ClientConn) error {
		_, err := cri.NewRuntimeServiceClient(connection).Version(ctx, &cri.VersionRequest{})
		return err
	})
}

// hasImage gives errMissing when the runtime says that it has not the image.
func (r runtime) hasImage(ctx context.Context, image string) error {
	return r.with(ctx, probeTimeout, func(ctx context.Context, connection *grpc.ClientConn) error {
		status, err := cri.NewImageServiceClient(connection).ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
		if err == nil && status.GetImage() == nil {
			return errMissing
		}
		return err
	})
}

// removePods stops and removes every pod with its containers, their network and
// their file systems: only the runtime knows all that belongs to one.
func (r runtime) removePods(ctx context.Context) error {
	return r.with(ctx, time.Minute, func(ctx context.Context, connection *grpc.ClientConn) error {
		client := cri.NewRuntimeServiceClient(connection)
		pods, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		var failed []error
		for _, pod := range pods.Items {
			_, stopped := client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.Id})
			_, removed := client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.Id})
			failed = append(failed, stopped, removed)
		}
		return errors.Join(failed...)
	})
}
