//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

func (s *scene) invite() string {
	s.Helper()
	invite, err := s.surrogate.Invite(s.Context())
	s.ok(err)
	return invite
}

// devices is what `simplebit devices --json` lists.
func (s *scene) devices() (list []apiclient.Device) {
	s.Helper()
	s.ok(json.Unmarshal([]byte(s.simplebit("devices", "--json")), &list))
	return list
}

// untilOnline waits until the surrogate knows that a device is there, or is not: it learns so a little later than who started or
// stopped the agent.
func (s *scene) untilOnline(name string, want bool) {
	s.Helper()
	s.until(fmt.Sprintf("%s is online: %v", name, want), patience, func() bool {
		return slices.ContainsFunc(s.devices(), func(d apiclient.Device) bool { return d.Name == name && !d.Revoked && d.Online == want })
	})
}

func TestAnInviteIsForOneDevice(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	invite := s.invite()
	attic, cellar := s.newAgent("attic"), s.newAgent("cellar")

	out, err := attic.Run(t.Context(), "", "join", "--name", "attic", invite)
	s.ok(err)
	if out.ExitCode != 0 || out.Stdout != "joined as attic; next: `edgeagent run --state "+attic.State()+"`\n" {
		t.Fatalf("join: %+v", out)
	}
	s.says(s.refusal(cellar.Run(t.Context(), invite+"\n", "join")), "edgeagent: ", "the invite was used by another device", "make a new one")
	out, err = attic.Run(t.Context(), invite, "join", "--name", "other")
	s.ok(err)
	if out.ExitCode != 0 || !strings.HasPrefix(out.Stdout, "joined as attic;") {
		t.Errorf("the same device, again: %+v", out)
	}
	if d := s.devices(); len(d) != 1 || d[0].Name != "attic" || d[0].Online || d[0].Revoked {
		t.Errorf("devices: %+v", d)
	}
	s.ok(attic.Restart(t.Context()))
	s.ok(cellar.Join(t.Context(), s.invite()))
	s.ok(cellar.Restart(t.Context()))
	s.untilOnline("attic", true)
	s.untilOnline("cellar", true)
	if d := s.devices(); len(d) != 2 {
		t.Errorf("devices: %+v", d)
	}
}

func TestWrongInvitesEnrolNobody(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.newAgent("attic")
	other, err := programs.StartSurrogate(t.Context(), programs.OursConfig{Host: s.host("other"), Bin: bin(t), Dir: filepath.Join(s.dir, "other")})
	s.ok(err)
	elsewhere, err := other.Invite(t.Context())
	s.ok(err)

	invite := s.invite()
	part := func(invite, name string) string { return regexp.MustCompile(name + `=[^&]*`).FindString(invite) }
	wrongSecret := invite[:len(invite)-1] + "a"
	if wrongSecret == invite {
		wrongSecret = invite[:len(invite)-1] + "b"
	}
	for _, c := range []struct{ name, invite, says string }{
		{"no invite", "hello", "copy the whole line simplebit://"},
		{"cut short", invite[:40], "copy the whole line simplebit://"},
		{"without a token", strings.ReplaceAll(invite, part(invite, "token"), ""), "it needs one pin and one token"},
		{"garbled pin", strings.Replace(invite, "pin=", "pin=!", 1), "the pin is garbled"},
		{"pin of another surrogate", strings.Replace(invite, part(invite, "pin"), part(elsewhere, "pin"), 1), "does not match the invite's pin"},
		{"token of another surrogate", strings.Replace(invite, part(invite, "token"), part(elsewhere, "token"), 1), "the invite is not known here"},
		{"wrong secret", wrongSecret, "the invite is not known here"},
		{"nobody there", strings.Replace(invite, ":4433", ":4999", 1), "surrogate 198.18.2.2:4999"},
	} {
		line := s.refusal(attic.Run(t.Context(), c.invite, "join"))
		s.says(line, "edgeagent: ", c.says)
		if secret, _ := strings.CutPrefix(part(invite, "token"), "token="); strings.Contains(line, secret) {
			t.Errorf("%s: the error shows the secret: %s", c.name, line)
		}
	}
	s.says(s.refusal(attic.Run(t.Context(), "", "run", "--dir", attic.Downloads())), "has not joined", "edgeagent join INVITE", "rendezvous invite")
	s.says(s.refusal(attic.Run(t.Context(), "", "status")), "no agent runs", "edgeagent run --state "+attic.State())
	out, err := attic.Run(t.Context(), "", "join")
	s.ok(err)
	if out.ExitCode != 2 || !strings.Contains(out.Stderr, "rendezvous invite") {
		t.Errorf("no invite at all: %+v", out)
	}
	if d := s.devices(); len(d) != 0 {
		t.Errorf("devices: %+v", d)
	}

	// One wrong secret has been tried. The fifth makes the invite void for the right one too.
	for range 4 {
		s.says(s.refusal(attic.Run(t.Context(), wrongSecret, "join")), "the invite is not known here")
	}
	s.says(s.refusal(attic.Run(t.Context(), invite, "join")), "void after too many wrong tries", "make a new one")
	s.ok(attic.Join(t.Context(), s.invite()))
}

func TestARevokedDeviceIsCutOffAndReturnsWithANewKey(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic, cellar := s.agent("attic"), s.agent("cellar")
	torrent := s.torrent("album", 64<<10, 100_000)
	id := s.add(torrent, "attic").ID

	s.says(s.simplebit("devices", "revoke", "attic"), "attic is revoked")
	select {
	case <-attic.Done():
	case <-time.After(patience):
		t.Fatal("the revoked agent still runs")
	}
	log, err := os.ReadFile(attic.Log())
	s.ok(err)
	const reason = "edgeagent: the surrogate refused this device: this device was revoked"
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, reason) || !strings.Contains(last, "new invite") || attic.ExitCode() != 1 {
		t.Errorf("exit status %d, the last line is %q", attic.ExitCode(), last)
	}
	again, err := attic.Run(t.Context(), "", "run", "--dir", attic.Downloads())
	s.ok(err)
	lines = strings.Split(strings.TrimSpace(again.Stderr), "\n")
	if last := lines[len(lines)-1]; again.ExitCode != 1 || !strings.HasPrefix(last, reason) {
		t.Errorf("started again: %+v", again)
	}
	var j apiclient.Job
	s.until("the job of the revoked device fails", patience, func() bool {
		j = s.show(id)
		return j.State == apiclient.StateFailed && !j.TargetOnline
	})
	s.says(j.Error, "was revoked", "remove this job, or add it on another device")
	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "add", torrent.File, "--to", "attic")), "no such device")

	if st, err := cellar.Status(); err != nil || !st.Connected {
		t.Errorf("another device is %+v (%v)", st, err)
	}
	old := s.devices()
	s.ok(attic.Join(t.Context(), s.invite()))
	s.ok(attic.Restart(t.Context()))
	s.untilOnline("attic", true)
	now := s.devices()
	if len(now) != 3 || !now[0].Revoked || now[0].Online || now[2].Name != "attic" || !now[2].Online || now[2].ID == old[0].ID {
		t.Errorf("devices before: %+v\nafter: %+v", old, now)
	}
	s.simplebit("rm", id)
	if out, err := s.surrogate.Simplebit(t.Context(), "show", id); err != nil || out.ExitCode != 1 {
		t.Errorf("a job of a revoked device cannot be removed: %+v (%v)", out, err)
	}
	id = s.add(torrent, "attic").ID
	s.wait(id, "reach the new device", patience, func(j apiclient.Job) bool { return j.TargetOnline && j.State == apiclient.StateMetadata })
}

func TestOneFolderHasOneProgram(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	s.says(s.refusal(attic.Run(t.Context(), "", "run", "--dir", attic.Downloads(), "--listen", ":7000")), "state folder "+attic.State(), "in use by another agent", "stop it first")
	s.says(s.refusal(attic.Run(t.Context(), s.invite(), "join")), "in use by another agent")
	line := s.refusal(s.surrogate.Run(t.Context(), "serve", "--http", "127.0.0.1:8081", "--control", ":4434"))
	s.says(line, "rendezvous: ", s.surrogate.Data(), fmt.Sprintf("in use by another process (process %d)", s.surrogate.Pid()), "stop it first")
	s.simplebit("ls")
	if st, err := attic.Status(); err != nil || !st.Connected {
		t.Errorf("the first agent is %+v (%v)", st, err)
	}
}

func TestARenamedDeviceKeepsWorking(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	s.agent("cellar")
	torrent := s.torrent("album", 64<<10, 300_000, 5)
	s.seed(programs.RTorrent, "seeder", torrent)

	s.says(s.simplebit("devices", "rename", "attic", "loft"), "attic is called loft now")
	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "devices", "rename", "loft", "cellar")), "the name is taken")
	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "devices", "rename", "loft", "The Loft")), "lower-case letters, digits and hyphens")
	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "add", torrent.File, "--to", "attic")), "no such device", "attic")
	j := s.wait(s.add(torrent, "loft").ID, "download", patience, seeding)
	if j.Target != "device:loft" {
		t.Errorf("the job's target is %s", j.Target)
	}
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
	s.ok(attic.Stop())
	s.ok(attic.Restart(t.Context()))
	if st, err := attic.Status(); err != nil || st.Name != "loft" {
		t.Errorf("the agent calls itself %+v (%v)", st, err)
	}
}

// TestAnAgentTrustsNoOtherSurrogate has another deployment take the surrogate's
// address, and then the right one return.
func TestAnAgentTrustsNoOtherSurrogate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	s.ok(attic.Kill())
	s.ok(s.surrogate.Kill())
	s.ok(os.Rename(s.surrogate.Data(), s.surrogate.Data()+"-kept"))
	s.ok(os.Mkdir(s.surrogate.Data(), 0o755))
	s.ok(s.surrogate.Restart(t.Context()))
	s.ok(attic.Start(t.Context()))
	s.until("the agent refuses a surrogate with another key", patience, func() bool {
		st, err := attic.Status()
		return err == nil && !st.Connected && strings.Contains(st.Error, "does not match the invite's pin")
	})
	if d := s.devices(); len(d) != 0 {
		t.Errorf("the other surrogate has devices: %+v", d)
	}
	s.ok(s.surrogate.Kill())
	s.ok(os.RemoveAll(s.surrogate.Data()))
	s.ok(os.Rename(s.surrogate.Data()+"-kept", s.surrogate.Data()))
	s.ok(s.surrogate.Restart(t.Context()))
	s.until("the agent comes back to its own", patience, func() bool {
		st, err := attic.Status()
		s.ok(err)
		return st.Connected
	})
}
