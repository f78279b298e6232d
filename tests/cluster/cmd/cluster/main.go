package main

import (
	"context"
	"fmt"
	"os"

	"longtask.dev/tests/cluster/internal/image"
	"longtask.dev/tests/cluster/internal/local"
)

func main() {
	ctx := context.Background()
	c := local.Cluster{Kube: os.Getenv("KUBE"), Pause: os.Getenv("PAUSE"), Say: &local.Progress{Out: os.Stdout}}
	var err error
	switch os.Args[1] {
	case "become":
		err = local.Become(os.Args[2], os.Args[3:])
	case "up":
		err = c.Up(ctx)
	case "down":
		err = c.Down(ctx, len(os.Args) > 2)
	case "status":
		err = c.Status(ctx)
	case "load":
		err = local.Load(ctx, os.Args[2])
	case "build":
		var s *image.Spec
		s, err = image.Read(os.Args[2])
		if err == nil {
			err = image.Builder{Cache: "/root/.cache/longtask"}.Build(ctx, s, os.Args[3])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
