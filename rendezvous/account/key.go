package account

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"simplebit/rendezvous/store"
)

// keyRecord is kept under "deployment" and "surrogate".
type keyRecord struct {
	PEM string `json:"pem"` // PKCS #8
}

// DeploymentKey returns the key that every agent trusts, and makes it the first time. When it is missing although devices are
// enrolled the error is ErrKeyLost: a new one would strand them all.
func (a *Accounts) DeploymentKey(ctx context.Context) (ed25519.PrivateKey, error) {
	key, err := a.key(ctx, "deployment")
	if !errors.Is(err, store.ErrNotFound) {
		return key, err
	}
	devices, err := a.devices.All(ctx)
	if err != nil {
		return nil, err
	}
	if len(devices) > 0 {
		return nil, fmt.Errorf("%w and %d devices trust no other: restore a backup", ErrKeyLost, len(devices))
	}
	return a.makeKey(ctx, "deployment")
}

// SurrogateKey returns this surrogate's own key, which the deployment key signs, and makes it the first time.
func (a *Accounts) SurrogateKey(ctx context.Context) (ed25519.PrivateKey, error) {
	key, err := a.key(ctx, "surrogate")
	if errors.Is(err, store.ErrNotFound) {
		return a.makeKey(ctx, "surrogate")
	}
	return key, err
}

func (a *Accounts) key(ctx context.Context, name string) (ed25519.PrivateKey, error) {
	r, err := a.keys.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(r.PEM)
	if err != nil {
		return nil, fmt.Errorf("the %s key in the store: %w: restore a backup", name, err)
	}
	return key, nil
}

// makeKey makes a key unless another start was faster: then it returns that one's.
func (a *Accounts) makeKey(ctx context.Context, name string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the %s key: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the %s key: %w", name, err)
	}
	r := keyRecord{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
	err = a.keys.Create(ctx, name, r)
	if errors.Is(err, store.ErrExists) {
		return a.key(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

func parseKey(text string) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, errors.New("it is not one PEM block \"PRIVATE KEY\"")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	own, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, not an Ed25519 key", key)
	}
	return own, nil
}
