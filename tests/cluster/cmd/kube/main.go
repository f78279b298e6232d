// Command kube is a whole Kubernetes in one program: etcd, the control plane,
// the node components and kubectl, built from the public Go modules.
//
// The component is chosen as in busybox: by the name under which the program is
// called (a symlink named kubectl is kubectl), else by the first argument. One
// binary compiles and links once what seven would compile and link seven times.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components maps each name to the program of that name. All of them read
// os.Args, so that is set before one is called.
var components = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { run(scheduler.NewSchedulerCommand()) },
	"kube-proxy":              func() { run(proxy.NewProxyCommand()) },
	"kubelet":                 func() { run(kubelet.NewKubeletCommand(context.Background())) },
	"kubectl":                 runKubectl,
}

func main() {
	args := componentArgs(os.Args)
	if len(args) == 0 {
		usage()
	}
	component, known := components[args[0]]
	if !known {
		usage()
	}
	os.Args = args
	component()
}

// componentArgs drops the program's own name unless that is a component's.
func componentArgs(args []string) []string {
	if name := filepath.Base(args[0]); components[name] != nil {
		return append([]string{name}, args[1:]...)
	}
	return args[1:]
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

// runKubectl mirrors kubectl's own main: its errors are printed in its own way,
// not as a component's.
func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

func usage() {
	names := strings.Join(slices.Sorted(maps.Keys(components)), "|")
	fmt.Fprintf(os.Stderr, "usage: %s %s [flags]\n", filepath.Base(os.Args[0]), names)
	os.Exit(2)
}
