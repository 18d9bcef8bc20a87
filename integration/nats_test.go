//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/integration/programs"
)

func TestADownloadMovesToANATSServerThatIsKilledOnTheWay(t *testing.T) {
	programs.Require(t, programs.NATSServer)
	t.Parallel()
	s := newMidway(t)
	file := filepath.Join(s.dir, "backup")
	out, err := s.surrogate.Run(t.Context(), "backup", file)
	s.ok(err)
	if out.ExitCode != 0 || !strings.Contains(out.Stdout, file) {
		t.Fatalf("the backup ended with %+v", out)
	}
	s.ok(s.surrogate.Stop())

	nats, err := programs.StartNATS(t.Context(), programs.NATSConfig{Host: s.host("nats"), Dir: filepath.Join(s.dir, "nats")})
	s.ok(err)
	out, err = s.surrogate.Run(t.Context(), "restore", file, "--nats", nats.URL())
	s.ok(err)
	if out.ExitCode != 0 || !strings.Contains(out.Stdout, "restored from") {
		t.Fatalf("the restore ended with %+v", out)
	}
	s.ok(os.RemoveAll(filepath.Join(s.dir, "s", "store"))) // all that is left is in NATS
	external := programs.OursConfig{Host: s.surrogate.Host(), Bin: bin(t), Dir: s.surrogate.Data(), Args: []string{"--nats", nats.URL()}}
	s.surrogate, err = programs.StartSurrogate(t.Context(), external)
	s.ok(err)
	s.until("come back", patience, func() bool {
		list := s.devices()
		return len(list) == 1 && list[0].Online
	})

	s.ok(nats.Kill())
	time.Sleep(2 * time.Second)
	if _, err := s.surrogate.API().Jobs(t.Context()); err != nil {
		t.Errorf("without the NATS server the jobs are not shown: %v", err)
	}
	if _, err := s.surrogate.API().Pause(t.Context(), s.id); err == nil {
		t.Error("a job was paused, which is stored nowhere")
	}
	s.ok(nats.Restart(t.Context()))
	s.until("store again", patience, func() bool {
		_, err := s.surrogate.API().Invite(t.Context())
		return err == nil
	})
	s.wait(s.id, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(s.agent.Downloads(), "album"))

	second := programs.OursConfig{Host: s.host("second"), Bin: bin(t), Dir: filepath.Join(s.dir, "second"), Args: external.Args}
	if _, err := programs.StartSurrogate(t.Context(), second); err == nil || !strings.Contains(err.Error(), "is used by another surrogate") {
		t.Errorf("a second surrogate on the NATS server: %v", err)
	}
	s.ok(s.surrogate.Kill())
	s.surrogate, err = programs.StartSurrogate(t.Context(), second) // after the lease of the first has run out
	s.ok(err)
	if list := s.devices(); len(list) != 1 {
		t.Errorf("the second surrogate knows %+v", list)
	}
	if jobs, err := s.surrogate.API().Jobs(t.Context()); err != nil || len(jobs) != 1 || jobs[0].ID != s.id {
		t.Errorf("the second surrogate has %+v, %v", jobs, err)
	}
}
