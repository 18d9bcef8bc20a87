package edgeagent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simplebit/wire/control"
)

// joining is what Join returned.
type joining struct {
	name string
	err  error
}

// join joins in the background.
func join(t *testing.T, cfg Config, invite string) <-chan joining {
	result := make(chan joining, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	go func() {
		name, err := Join(ctx, cfg, invite)
		result <- joining{name, err}
	}()
	return result
}

func fresh(t *testing.T) Config {
	dir := tempDir(t)
	return Config{State: filepath.Join(dir, "state"), Dir: filepath.Join(dir, "downloads"), Listen: "127.0.0.1:0", Name: "Dach Boden"}
}

func TestADeviceJoinsWithAnInviteAndKeepsItsKey(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := fresh(t)
	result := join(t, cfg, h.invite("id.secret"))
	g := h.accept()
	if g.hello.Token != "id.secret" || g.hello.Name != "Dach Boden" || g.hello.Version != control.Version {
		t.Errorf("the agent said %+v", g.hello)
	}
	g.send(control.Welcome{Version: control.Version, Name: "dach-boden"})
	if got := <-result; got.err != nil || got.name != "dach-boden" {
		t.Fatalf("joined as %+v", got)
	}
	start(t, cfg)
	again := h.accept()
	if again.device != g.device {
		t.Error("the agent runs with another key than it joined with")
	}
	if again.hello.Token != "" || again.hello.Name != "dach-boden" || again.hello.Port == 0 {
		t.Errorf("once joined the agent says %+v", again.hello)
	}
	if info, err := os.Stat(filepath.Join(cfg.State, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
}

func TestARefusedInviteSaysWhyAndJoinsNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := fresh(t)
	result := join(t, cfg, h.invite("id.secret"))
	h.accept().send(control.Refused{Code: control.RefusedInvite, Reason: "the invite has expired: make a new one"})
	got := <-result
	if r := (control.Refused{}); !errors.As(got.err, &r) || r.Code != control.RefusedInvite || !strings.Contains(got.err.Error(), "expired") {
		t.Errorf("refused with %v", got.err)
	}
	if err := Run(context.Background(), cfg); !errors.Is(err, ErrNotJoined) {
		t.Errorf("running then: %v, want ErrNotJoined", err)
	}
}

func TestOnlyTheSurrogateOfTheInviteIsTrusted(t *testing.T) {
	t.Parallel()
	h, other := newHome(t), newHome(t)
	h.pin = other.pin
	got := <-join(t, fresh(t), h.invite("id.secret"))
	if !errors.Is(got.err, control.ErrWrongPin) || strings.Contains(got.err.Error(), "\n") {
		t.Errorf("joined with a wrong pin: %v", got.err)
	}
}

func TestARevokedKeyIsReplacedByJoiningAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	result := join(t, fresh(t), h.invite("id.secret"))
	first := h.accept()
	first.send(control.Refused{Code: control.RefusedRevoked, Reason: "revoked"})
	second := h.accept()
	if second.device == first.device {
		t.Error("the agent came back with the revoked key")
	}
	second.send(control.Welcome{Version: control.Version, Name: "attic-2"})
	if got := <-result; got.err != nil || got.name != "attic-2" {
		t.Errorf("joined as %+v", got)
	}
}

func TestAKeyThatIsRevokedTwiceIsNotReplacedForEver(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	result := join(t, fresh(t), h.invite("id.secret"))
	for range 2 {
		h.accept().send(control.Refused{Code: control.RefusedRevoked, Reason: "revoked"})
	}
	if got := <-result; !errors.As(got.err, new(control.Refused)) {
		t.Errorf("joined as %+v", got)
	}
}

func TestAnAgentThatRunsCannotJoinElsewhere(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	h.accept()
	got := <-join(t, cfg, h.invite("id.secret"))
	if got.err == nil || !strings.Contains(got.err.Error(), "in use by another agent") {
		t.Errorf("joined as %+v", got)
	}
}

func TestABadInviteIsRefusedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	cfg := fresh(t)
	for _, text := range []string{"", "http://example.org", "simplebit://", "simplebit://h:1/?pin=x&token=y"} {
		if _, err := Join(context.Background(), cfg, text); err == nil {
			t.Errorf("invite %q was taken", text)
		}
	}
	if _, err := os.Stat(cfg.State); !errors.Is(err, os.ErrNotExist) {
		t.Error("a state folder was made")
	}
}

func TestASurrogateThatAnswersHelloWithSomethingElseIsNotJoined(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	result := join(t, fresh(t), h.invite("id.secret"))
	h.accept().send(control.Synced{})
	if got := <-result; got.err == nil || !strings.Contains(got.err.Error(), h.addr) {
		t.Errorf("joined as %+v", got)
	}
}
