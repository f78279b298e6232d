package local

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCertificatesFitTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := ensurePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(dir, "ca.crt")))
	for _, id := range identities {
		t.Run(id.file, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, id.file+".crt"), filepath.Join(dir, id.file+".key"))
			if err != nil {
				t.Fatal(err)
			}
			usages := []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usages}); err != nil {
				t.Error(err)
			}
			for _, name := range append(id.dns, id.ips...) {
				if err := pair.Leaf.VerifyHostname(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestCertificatesAreMadeAgainOnlyWhenTheyMust(t *testing.T) {
	now := time.Now()
	cases := []struct {
		name  string
		spoil func(dir string)
		at    time.Time
		again bool
	}{
		{"the next day", func(string) {}, now.Add(24 * time.Hour), false},
		{"ten days before they end", func(string) {}, now.Add(certificateLife - 10*24*time.Hour), true},
		{"the authority is gone", func(dir string) { os.Remove(filepath.Join(dir, "ca.crt")) }, now, true},
		{"the authority is damaged", func(dir string) { os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) }, now, true},
		{"an earlier try was cut off", func(dir string) { os.Rename(dir, dir+".part") }, now, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			if err := ensurePKI(dir, now); err != nil {
				t.Fatal(err)
			}
			before := read(t, filepath.Join(dir, "admin.crt"))
			c.spoil(dir)
			if err := ensurePKI(dir, c.at); err != nil {
				t.Fatal(err)
			}
			after := read(t, filepath.Join(dir, "admin.crt"))
			if again := string(before) != string(after); again != c.again {
				t.Errorf("made again: %v, want %v", again, c.again)
			}
		})
	}
}

func TestKubeconfigsHoldAllThatAClientNeeds(t *testing.T) {
	dir := t.TempDir()
	pki := filepath.Join(dir, "pki")
	if err := ensurePKI(pki, time.Now()); err != nil {
		t.Fatal(err)
	}
	place := func(user string) string { return filepath.Join(dir, user) }
	files, err := kubeconfigs(pki, place)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeAll(files); err != nil {
		t.Fatal(err)
	}
	for _, user := range kubeconfigUsers {
		config := parseKubeconfig(t, read(t, place(user)))
		if config.CurrentContext != Context || config.Clusters[0].Cluster.Server != apiServer {
			t.Errorf("%s: %+v", user, config)
		}
		if _, err := tls.X509KeyPair(config.Users[0].User.Certificate, config.Users[0].User.Key); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
