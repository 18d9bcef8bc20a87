package control

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

// meeting is how a TLS connection went for either side.
type meeting struct {
	agent, surrogate error // the agent's is known after it read the first byte: before, its handshake may only seem done
	seen             tls.ConnectionState
}

func meet(t *testing.T, agent, surrogate *tls.Config) meeting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	a.SetDeadline(deadline)
	s.SetDeadline(deadline)
	var m meeting
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.Close()
		conn := tls.Server(s, surrogate)
		if m.surrogate = conn.Handshake(); m.surrogate == nil {
			m.seen = conn.ConnectionState()
			conn.Write([]byte{1})
		}
	}()
	conn := tls.Client(a, agent)
	if m.agent = conn.Handshake(); m.agent == nil {
		_, m.agent = conn.Read(make([]byte, 1))
	}
	a.Close()
	<-done
	return m
}

func agentTLS(t *testing.T, key ed25519.PrivateKey, pin Pin) *tls.Config {
	t.Helper()
	c, err := AgentTLS(key, pin)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func surrogateTLS(t *testing.T, own, deployment ed25519.PrivateKey) *tls.Config {
	t.Helper()
	c, err := SurrogateTLS(own, deployment)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pinOf(name string) Pin { return PinOf(publicOf(keyOf(name))) }

func TestAgentMeetsEverySurrogateOfItsDeployment(t *testing.T) {
	for _, own := range []string{"surrogate 1", "surrogate 2", "deployment"} {
		m := meet(t, agentTLS(t, keyOf("attic"), pinOf("deployment")), surrogateTLS(t, keyOf(own), keyOf("deployment")))
		if m.agent != nil || m.surrogate != nil {
			t.Fatalf("%s: agent: %v, surrogate: %v", own, m.agent, m.surrogate)
		}
		if id, err := PeerDevice(m.seen); err != nil || id != DeviceIDOf(publicOf(keyOf("attic"))) {
			t.Errorf("%s sees device %s, %v", own, id, err)
		}
		if m.seen.Version != tls.VersionTLS13 || m.seen.NegotiatedProtocol != ALPN {
			t.Errorf("%s: version %x, protocol %q", own, m.seen.Version, m.seen.NegotiatedProtocol)
		}
	}
}

func TestSurrogateOfAnotherDeploymentIsRefused(t *testing.T) {
	m := meet(t, agentTLS(t, keyOf("attic"), pinOf("deployment")), surrogateTLS(t, keyOf("surrogate"), keyOf("another deployment")))
	if !errors.Is(m.agent, ErrWrongPin) || m.surrogate == nil {
		t.Fatalf("agent: %v, surrogate: %v", m.agent, m.surrogate)
	}
	for _, want := range []string{"ask its operator for a new invite", pinOf("deployment").String(), pinOf("another deployment").String()} {
		if !strings.Contains(m.agent.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, m.agent)
		}
	}
}

func TestShowingTheDeploymentsCertificateIsNotEnough(t *testing.T) {
	// A thief of no key has the deployment's certificate, which every agent sees, and one of his own.
	real := surrogateTLS(t, keyOf("surrogate"), keyOf("deployment")).Certificates[0]
	thief := surrogateTLS(t, keyOf("thief"), keyOf("thief's deployment"))
	deployment := real.Certificate[1]
	for name, chain := range map[string][][]byte{
		"own leaf, then the deployment":    {thief.Certificates[0].Certificate[0], deployment},
		"own chain, then the deployment":   {thief.Certificates[0].Certificate[0], thief.Certificates[0].Certificate[1], deployment},
		"own leaf, a real one, deployment": {thief.Certificates[0].Certificate[0], real.Certificate[0], deployment},
		"own leaf alone":                   {thief.Certificates[0].Certificate[0]},
	} {
		c := thief.Clone()
		c.Certificates = []tls.Certificate{{Certificate: chain, PrivateKey: keyOf("thief")}}
		if m := meet(t, agentTLS(t, keyOf("attic"), pinOf("deployment")), c); !errors.Is(m.agent, ErrWrongPin) {
			t.Errorf("%s: %v", name, m.agent)
		}
	}
	// With a leaf that is not his, TLS itself fails.
	for name, chain := range map[string][][]byte{"a stolen chain": real.Certificate, "the deployment alone": {deployment}} {
		c := thief.Clone()
		c.Certificates = []tls.Certificate{{Certificate: chain, PrivateKey: keyOf("thief")}}
		if m := meet(t, agentTLS(t, keyOf("attic"), pinOf("deployment")), c); m.agent == nil || !strings.Contains(m.agent.Error(), "invalid signature") {
			t.Errorf("%s: %v", name, m.agent)
		}
	}
}

func TestClientWithoutADeviceKeyIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	surrogate := surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
	agent := agentTLS(t, keyOf("attic"), pinOf("deployment"))

	agent.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	if m := meet(t, agent, surrogate); !errors.Is(m.surrogate, ErrDeviceKey) || m.agent == nil {
		t.Errorf("an RSA key: agent: %v, surrogate: %v", m.agent, m.surrogate)
	}
	agent.Certificates = nil
	if m := meet(t, agent, surrogate); m.surrogate == nil || m.agent == nil {
		t.Errorf("no certificate: agent: %v, surrogate: %v", m.agent, m.surrogate)
	}
	stolen := surrogateTLS(t, keyOf("attic"), keyOf("attic")).Certificates[0].Certificate
	agent.Certificates = []tls.Certificate{{Certificate: stolen, PrivateKey: keyOf("thief")}}
	if m := meet(t, agent, surrogate); m.surrogate == nil || m.agent == nil {
		t.Errorf("another device's certificate: agent: %v, surrogate: %v", m.agent, m.surrogate)
	}
	if _, err := PeerDevice(tls.ConnectionState{}); !errors.Is(err, ErrDeviceKey) {
		t.Errorf("no certificate: %v", err)
	}
}

func TestClocksDoNotMatter(t *testing.T) {
	for _, now := range []time.Time{time.Unix(0, 0), time.Unix(0, 0).AddDate(-1, 0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		agent, surrogate := agentTLS(t, keyOf("attic"), pinOf("deployment")), surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
		agent.Time = func() time.Time { return now }
		if m := meet(t, agent, surrogate); m.agent != nil || m.surrogate != nil {
			t.Errorf("agent in %d: agent: %v, surrogate: %v", now.Year(), m.agent, m.surrogate)
		}
		agent.Time, surrogate.Time = nil, agent.Time
		if m := meet(t, agent, surrogate); m.agent != nil || m.surrogate != nil {
			t.Errorf("surrogate in %d: agent: %v, surrogate: %v", now.Year(), m.agent, m.surrogate)
		}
	}
}

func TestOnlyTLS13WithOurProtocolIsSpoken(t *testing.T) {
	for name, spoil := range map[string]func(*tls.Config){
		"TLS 1.2":     func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		"HTTP":        func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		"no protocol": func(c *tls.Config) { c.NextProtos = nil },
	} {
		agent, surrogate := agentTLS(t, keyOf("attic"), pinOf("deployment")), surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
		spoil(agent)
		if m := meet(t, agent, surrogate); m.surrogate == nil || m.agent == nil {
			t.Errorf("agent with %s: agent: %v, surrogate: %v", name, m.agent, m.surrogate)
		}
		agent, surrogate = agentTLS(t, keyOf("attic"), pinOf("deployment")), surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
		spoil(surrogate)
		surrogate.VerifyConnection = nil
		if m := meet(t, agent, surrogate); m.agent == nil {
			t.Errorf("surrogate with %s: agent: %v, surrogate: %v", name, m.agent, m.surrogate)
		}
	}
	// A web server on that port.
	agent := agentTLS(t, keyOf("attic"), pinOf("deployment"))
	if m := meet(t, agent, &tls.Config{Certificates: surrogateTLS(t, keyOf("x"), keyOf("y")).Certificates}); !errors.Is(m.agent, ErrNotControl) {
		t.Errorf("another server: %v", m.agent)
	}
}

func TestResumedSessionIsCheckedLikeANewOne(t *testing.T) {
	// A server that does give out tickets, unlike ours.
	surrogate := surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
	surrogate.SessionTicketsDisabled = false
	agent := agentTLS(t, keyOf("attic"), pinOf("deployment"))
	agent.ServerName = "surrogate"
	agent.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if m := meet(t, agent, surrogate); m.agent != nil {
		t.Fatal(m.agent)
	}
	if m := meet(t, agent, surrogate); m.agent != nil || !m.seen.DidResume {
		t.Fatalf("not resumed: %v", m.agent)
	}
	moved := agentTLS(t, keyOf("attic"), pinOf("another deployment"))
	moved.ServerName, moved.ClientSessionCache = agent.ServerName, agent.ClientSessionCache
	if m := meet(t, moved, surrogate); !errors.Is(m.agent, ErrWrongPin) {
		t.Errorf("resumed with another pin: %v", m.agent)
	}
}

func TestSurrogateGivesOutNoTickets(t *testing.T) {
	surrogate := surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
	agent := agentTLS(t, keyOf("attic"), pinOf("deployment"))
	agent.ServerName = "surrogate"
	agent.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		if m := meet(t, agent, surrogate); m.agent != nil || m.seen.DidResume {
			t.Errorf("resumed: %v, %v", m.seen.DidResume, m.agent)
		}
	}
}

func TestConfigsNeedWholeKeys(t *testing.T) {
	good := keyOf("good")
	for name, err := range map[string]error{
		"agent":      second(AgentTLS(nil, Pin{})),
		"own":        second(SurrogateTLS(nil, good)),
		"deployment": second(SurrogateTLS(good, good[:32])),
	} {
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *tls.Config, err error) error { return err }

func TestQUICTellsTheAgentThatThePinIsWrong(t *testing.T) {
	surrogate := surrogateTLS(t, keyOf("surrogate"), keyOf("deployment"))
	slow := &quic.Config{HandshakeIdleTimeout: patience}
	l, err := quic.ListenAddr("127.0.0.1:0", surrogate, slow)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	_, err = quic.DialAddr(ctx, l.Addr().String(), agentTLS(t, keyOf("attic"), pinOf("another deployment")), slow)
	if !errors.Is(err, ErrWrongPin) {
		t.Errorf("wrong pin: %v", err)
	}
	conn, err := quic.DialAddr(ctx, l.Addr().String(), agentTLS(t, keyOf("attic"), pinOf("deployment")), slow)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	accepted, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := PeerDevice(accepted.ConnectionState().TLS); err != nil || id != DeviceIDOf(publicOf(keyOf("attic"))) {
		t.Errorf("the surrogate sees device %s, %v", id, err)
	}
}
