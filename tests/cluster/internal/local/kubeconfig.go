package local

import (
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// The parts of a kubeconfig that are used here. Certificates are inside, so that
// a copy works wherever it is put.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Certificate []byte `json:"client-certificate-data"`
		Key         []byte `json:"client-key-data"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// Context is the name by which a kubeconfig shows that it is this cluster's.
const Context = network

// kubeconfigUsers are the identities that reach the API server with a
// kubeconfig, by the names of their certificates.
var kubeconfigUsers = []string{"admin", "controller-manager", "scheduler", "proxy", "node"}

func kubeconfigFile(user string) string { return statePath(user + ".kubeconfig") }

func kubeconfigs(pki string, place func(user string) string) ([]file, error) {
	var files []file
	for _, user := range kubeconfigUsers {
		text, err := renderKubeconfig(pki, user)
		if err != nil {
			return nil, err
		}
		files = append(files, file{place(user), text, 0o600})
	}
	return files, nil
}

func renderKubeconfig(pki, user string) ([]byte, error) {
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	certificate, err := os.ReadFile(filepath.Join(pki, user+".crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(pki, user+".key"))
	if err != nil {
		return nil, err
	}
	config := kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: Context,
		Clusters: make([]namedCluster, 1), Users: make([]namedUser, 1), Contexts: make([]namedContext, 1),
	}
	cluster, client, context := &config.Clusters[0], &config.Users[0], &config.Contexts[0]
	cluster.Name, cluster.Cluster.Server, cluster.Cluster.CA = Context, apiServer, ca
	client.Name, client.User.Certificate, client.User.Key = user, certificate, key
	context.Name, context.Context.Cluster, context.Context.User = Context, Context, user
	return yaml.Marshal(config)
}
