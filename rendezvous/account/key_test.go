package account

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	a, s := open(t, dir)
	keys := make([]ed25519.PrivateKey, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = a.DeploymentKey(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	own, err := a.SurrogateKey(t.Context())
	check(t, err)
	s.Close()
	a, _ = open(t, dir)
	again, err := a.DeploymentKey(t.Context())
	check(t, err)
	for _, key := range keys {
		if !key.Equal(again) {
			t.Error("there were two deployment keys")
		}
	}
	if ownAgain, err := a.SurrogateKey(t.Context()); err != nil || !own.Equal(ownAgain) || own.Equal(again) {
		t.Errorf("the surrogate's key is not its own: %v", err)
	}
}

func TestLostDeploymentKeyIsNotReplaced(t *testing.T) {
	a, _ := open(t, t.TempDir())
	_, err := a.DeploymentKey(t.Context())
	check(t, err)
	enrol(t, a, id("a"), "attic")
	check(t, a.keys.Delete(t.Context(), "deployment"))
	if _, err := a.DeploymentKey(t.Context()); !errors.Is(err, ErrKeyLost) {
		t.Error(err)
	}
}

func TestBadKeyInTheStoreIsNamed(t *testing.T) {
	a, _ := open(t, t.TempDir())
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	check(t, err)
	for _, text := range []string{"", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))} {
		check(t, a.keys.Put(t.Context(), "deployment", keyRecord{PEM: text}))
		if _, err := a.DeploymentKey(t.Context()); err == nil || !strings.Contains(err.Error(), "the deployment key in the store") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
