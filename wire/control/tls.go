package control

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Errors of the TLS handshake; test with errors.Is. They come from VerifyConnection, so the other side sees an alert.
var (
	// ErrWrongPin is a surrogate whose key no deployment key with the invite's pin has signed.
	ErrWrongPin = errors.New("control: the surrogate's key does not match the invite's pin: ask its operator for a new invite")
	// ErrNotControl is a server or client that speaks something else.
	ErrNotControl = errors.New("control: the other side does not speak " + ALPN + ": check the address and port")
	// ErrDeviceKey is a client without an Ed25519 certificate, hence no agent.
	ErrDeviceKey = errors.New("control: the client has shown no Ed25519 key: only an agent can connect here")
)

// AgentTLS returns the client's side for an agent with that key, which accepts every surrogate of the deployment with
// that pin. Validity dates and names are ignored: a router boots in 1970, and a surrogate may move. The error is ErrKey.
func AgentTLS(key ed25519.PrivateKey, pin Pin) (*tls.Config, error) {
	cert, err := selfSigned(key, "simplebit agent")
	if err != nil {
		return nil, err
	}
	c := baseTLS(cert)
	// Chains, dates and names are not checked; the pin is, in VerifyConnection, which unlike VerifyPeerCertificate also
	// runs when a session is resumed.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != ALPN {
			return ErrNotControl
		}
		return checkPin(cs.PeerCertificates, pin)
	}
	return c, nil
}

// SurrogateTLS returns the server's side for a surrogate with a key of its own, which deployment signs (they may be the
// same). It lets in every client that shows an Ed25519 key: PeerDevice says whose, and the caller decides whether it is
// enrolled. The error is ErrKey.
func SurrogateTLS(own, deployment ed25519.PrivateKey) (*tls.Config, error) {
	cert, err := selfSigned(deployment, "simplebit deployment")
	if err != nil {
		return nil, err
	}
	if !own.Equal(deployment) {
		if cert, err = signed(own, cert, "simplebit surrogate"); err != nil {
			return nil, err
		}
	}
	c := baseTLS(cert)
	c.ClientAuth = tls.RequireAnyClientCert
	// A ticket would outlive the revocation of its device.
	c.SessionTicketsDisabled = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != ALPN {
			return ErrNotControl
		}
		_, err := PeerDevice(cs)
		return err
	}
	return c, nil
}

// PeerDevice returns the device at the other end of a surrogate's connection. The error is ErrDeviceKey.
func PeerDevice(cs tls.ConnectionState) (DeviceID, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", ErrDeviceKey
	}
	pub, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return "", ErrDeviceKey
	}
	return DeviceIDOf(pub), nil
}

func baseTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{ALPN},
		Certificates: []tls.Certificate{cert},
	}
}

// checkPin accepts chain if a deployment key with that pin is in it and is, or has signed, the leaf. TLS itself has
// proved that the other side has the leaf's private key.
func checkPin(chain []*x509.Certificate, pin Pin) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w (it has shown no certificate)", ErrWrongPin)
	}
	leaf := chain[0]
	for i, c := range chain {
		pub, ok := c.PublicKey.(ed25519.PublicKey)
		if !ok || PinOf(pub) != pin {
			continue
		}
		if i == 0 {
			return nil
		}
		if leaf.SignatureAlgorithm == x509.PureEd25519 && ed25519.Verify(pub, leaf.RawTBSCertificate, leaf.Signature) {
			return nil
		}
		return fmt.Errorf("%w (it shows the deployment key that the invite pins, which has not signed its own key)", ErrWrongPin)
	}
	shown := "no Ed25519 key"
	if pub, ok := chain[len(chain)-1].PublicKey.(ed25519.PublicKey); ok {
		shown = PinOf(pub).String()
	}
	return fmt.Errorf("%w (the invite pins deployment key %v, the surrogate shows %s)", ErrWrongPin, pin, shown)
}

func selfSigned(key ed25519.PrivateKey, name string) (tls.Certificate, error) {
	return certificate(key, name, nil, key)
}

func signed(key ed25519.PrivateKey, parent tls.Certificate, name string) (tls.Certificate, error) {
	c, err := certificate(key, name, parent.Leaf, parent.PrivateKey.(ed25519.PrivateKey))
	if err != nil {
		return tls.Certificate{}, err
	}
	c.Certificate = append(c.Certificate, parent.Certificate...)
	return c, nil
}

// certificate certifies key, by itself if parent is nil. It is valid for ever, as RFC 5280 section 4.1.2.5 writes that,
// and the same at every start: the serial number is arbitrary.
func certificate(key ed25519.PrivateKey, name string, parent *x509.Certificate, signer ed25519.PrivateKey) (tls.Certificate, error) {
	if len(key) != ed25519.PrivateKeySize || len(signer) != ed25519.PrivateKeySize {
		return tls.Certificate{}, ErrKey
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if parent == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("control: certificate of the %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("control: certificate of the %s: %w", name, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
