package local

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	certificateLife = 365 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour
)

// identity is a certificate that the cluster needs: who it says its holder is
// and, for servers, under which names they are reached.
type identity struct {
	file         string
	name         string
	organization string
	dns          []string
	ips          []string
}

var identities = []identity{
	{file: "apiserver", name: "kube-apiserver",
		dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		ips: []string{"127.0.0.1", serviceIP, nodeIP}},
	{file: "kubelet-client", name: "kube-apiserver-kubelet-client", organization: "system:masters"},
	{file: "admin", name: "admin", organization: "system:masters"},
	{file: "controller-manager", name: "system:kube-controller-manager"},
	{file: "scheduler", name: "system:kube-scheduler"},
	{file: "proxy", name: "system:kube-proxy"},
	{file: "node", name: "system:node:" + nodeName, organization: "system:nodes",
		dns: []string{nodeName}, ips: []string{"127.0.0.1", nodeIP}},
}

func pkiFile(name string) string { return statePath("pki", name) }

// ensurePKI makes all certificates, unless they are there and will last. They
// are made in a folder aside that is renamed when it is whole: either all of
// them exist and fit together, or none does.
func ensurePKI(dir string, now time.Time) error {
	if lasts(filepath.Join(dir, "ca.crt"), now.Add(renewBefore)) {
		return nil
	}
	unfinished := dir + ".part"
	for _, stale := range []string{unfinished, dir} {
		if err := os.RemoveAll(stale); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(unfinished, 0o700); err != nil {
		return err
	}
	if err := makePKI(unfinished, now); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	return os.Rename(unfinished, dir)
}

func lasts(certificate string, until time.Time) bool {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && cert.NotAfter.After(until)
}

func makePKI(dir string, now time.Time) error {
	ca, err := newAuthority(now)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", ca.cert.Raw); err != nil {
		return err
	}
	for _, id := range identities {
		if err := ca.issue(dir, id, now); err != nil {
			return err
		}
	}
	return makeServiceAccountKey(dir)
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority's key is never written: every certificate is issued here, or all
// are made again.
func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template(pkix.Name{CommonName: network}, now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func (ca *authority) issue(dir string, id identity, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := template(id.subject(), now)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.DNSNames = id.dns
	for _, ip := range id.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, id.file+".crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, id.file+".key"), key)
}

func (id identity) subject() pkix.Name {
	subject := pkix.Name{CommonName: id.name}
	if id.organization != "" {
		subject.Organization = []string{id.organization}
	}
	return subject
}

func template(subject pkix.Name, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour), // a clock that is set back a little is no reason to fail
		NotAfter:     now.Add(certificateLife),
	}
}

// makeServiceAccountKey makes the pair that signs and checks pods' tokens.
func makeServiceAccountKey(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, "sa.key"), key)
}

func writeKey(file string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
