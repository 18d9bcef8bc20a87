package rendezvous

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/nat"
	"simplebit/rendezvous/apiclient"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

// puppet is the agent's end of a session, of a device that says what a test makes it say.
type puppet struct {
	t      *testing.T
	conn   link.Conn
	stream link.Stream
	frames *control.Reader
}

// puppet joins as a device in a network that lets no UDP out, but perhaps to the surrogate.
func (s *serving) puppet(ctx context.Context, name string, over link.Transport) *puppet {
	s.t.Helper()
	invite, err := control.ParseInvite(s.invite())
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := control.NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	conf, err := control.AgentTLS(key, invite.Pin)
	if err != nil {
		s.t.Fatal(err)
	}
	var conn link.Conn
	if over == link.TCP {
		if conn, err = link.DialTCP(ctx, netip.MustParseAddrPort(s.ControlTCP), conf); err != nil {
			s.t.Fatal(err)
		}
	} else {
		c, err := quic.DialAddr(ctx, s.Control, conf, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		conn = link.FromQUIC(c)
	}
	s.t.Cleanup(func() { conn.Close(0, "") })
	stream, err := conn.Open(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &puppet{s.t, conn, stream, control.NewReader(stream)}
	p.send(control.Hello{Version: control.Version, Name: name, Token: invite.Token})
	p.send(control.Synced{})
	p.send(control.Network{Behaviour: nat.Behaviour{Blocked: true}})
	eventually(s.t, name+" is shown", func() bool {
		d, err := s.api().Device(ctx, name)
		return err == nil && d.Online && d.Control == over.String() && d.Network != nil && d.Network.Blocked
	})
	return p
}

func (p *puppet) send(m control.Message) {
	p.t.Helper()
	if err := control.WriteMessage(p.stream, m); err != nil {
		p.t.Fatal(err)
	}
}

// until reads frames up to the first of the kind.
func until[M control.Message](p *puppet) M {
	p.t.Helper()
	p.stream.SetReadDeadline(time.Now().Add(patience))
	for {
		m, err := p.frames.Next()
		if err != nil {
			p.t.Fatal(err)
		}
		if m, ok := m.(M); ok {
			return m
		}
	}
}

// relayed takes the next stream of the surrogate, which is to another device.
func (p *puppet) relayed(ctx context.Context) (control.Relay, link.Stream) {
	p.t.Helper()
	stream, err := p.conn.Accept(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	stream.SetDeadline(time.Now().Add(patience))
	m, _, err := control.ReadHeader(stream)
	header, ok := m.(control.Relay)
	if err != nil || !ok {
		p.t.Fatalf("a stream begins with %#v, %v", m, err)
	}
	return header, stream
}

func TestDevicesWithoutAPathAreRelayedAndTheAPISaysWhy(t *testing.T) {
	cfg := local(t)
	cfg.ControlTCP = "127.0.0.1:0"
	s := serve(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pair := map[string]*puppet{}
	jobs := map[string]apiclient.Job{}
	over := map[string]link.Transport{"attic": link.TCP, "barn": link.QUIC}
	for name, state := range map[string]control.State{"attic": control.StateSeeding, "barn": control.StateDownloading} {
		p := s.puppet(ctx, name, over[name])
		pair[name] = p
		j, err := s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/announce"), Target: "device:" + name})
		if err != nil {
			t.Fatal(err)
		}
		a := until[control.Assign](p)
		p.send(control.Progress{ID: a.ID, Generation: a.Generation, State: state, Have: 8})
		jobs[name] = j
	}
	toBarn, atAttic := pair["attic"].relayed(ctx)
	toAttic, atBarn := pair["barn"].relayed(ctx)
	if toBarn.Peer != "barn" || toAttic.Peer != "attic" || toBarn.Dials == toAttic.Dials || toBarn.Torrent != toAttic.Torrent ||
		toAttic.Addr.Addr().String() != "127.0.0.1" {
		t.Errorf("attic is told %+v, barn %+v", toBarn, toAttic)
	}
	for _, way := range []struct {
		from, to link.Stream
		text     string
	}{{atAttic, atBarn, "greeting"}, {atBarn, atAttic, "hello"}} {
		if _, err := way.from.Write([]byte(way.text)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(way.text))
		if _, err := io.ReadFull(way.to, got); err != nil || string(got) != way.text {
			t.Fatalf("%q, %v arrived, want %q", got, err, way.text)
		}
	}
	eventually(t, "all is counted", func() bool {
		j, err := s.api().Job(ctx, jobs["barn"].ID)
		return err == nil && j.Relayed == apiclient.Relayed{Down: 8, Up: 5}
	})
	j, err := s.api().Job(ctx, jobs["attic"].ID)
	if err != nil || j.Relayed != (apiclient.Relayed{Down: 5, Up: 8}) {
		t.Errorf("attic: %+v, %v", j.Relayed, err)
	}
	if len(j.Paths) != 1 || j.Paths[0].Device != "barn" || j.Paths[0].State != "relayed" || j.Paths[0].Why == "" {
		t.Errorf("attic: %+v", j.Paths)
	}
	page := s.metrics()
	for _, line := range []string{
		"simplebit_relay_bytes_total 13", "simplebit_relay_streams 1", "simplebit_relay_streams_total 1", "simplebit_relay_refused_total 0",
		"simplebit_devices_enrolled 2", `simplebit_devices_online{control="quic"} 1`, `simplebit_devices_online{control="tcp"} 1`,
		`simplebit_jobs{state="seeding"} 1`, `simplebit_jobs{state="downloading"} 1`, `simplebit_jobs{state="failed"} 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("%q is missing in\n%s", line, page)
		}
	}

	if err := s.api().Remove(ctx, jobs["attic"].ID, false); err != nil {
		t.Fatal(err)
	}
	// The device need not do what it is asked for.
	for name, stream := range map[string]link.Stream{"attic": atAttic, "barn": atBarn} {
		if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, link.ErrCancelled) {
			t.Errorf("without the torrent %s reads %v", name, err)
		}
	}
	until[control.Unassign](pair["attic"])
	pair["attic"].send(control.Progress{ID: toBarn.Torrent, Generation: 1 << 40, State: control.StateSeeding, Have: 16})
	pair["attic"].send(control.Network{Behaviour: nat.Behaviour{Blocked: true}, Candidates: []nat.Candidate{
		{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort("192.168.1.2:6882")},
	}})
	eventually(t, "all is taken", func() bool {
		d, err := s.api().Device(ctx, "attic")
		return err == nil && d.Network != nil && len(d.Network.Candidates) == 1
	})
	if j, err := s.api().Job(ctx, jobs["barn"].ID); err != nil || len(j.Paths) != 0 {
		t.Errorf("barn still has paths to who has no job: %+v, %v", j.Paths, err)
	}
}

func TestARevokedDeviceIsRelayedNoMore(t *testing.T) {
	s := serve(t, local(t))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pair := map[string]*puppet{}
	var barn apiclient.Job
	for name, state := range map[string]control.State{"attic": control.StateSeeding, "barn": control.StateDownloading} {
		p := s.puppet(ctx, name, link.QUIC)
		pair[name] = p
		j, err := s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/announce"), Target: "device:" + name})
		if err != nil {
			t.Fatal(err)
		}
		if name == "barn" {
			barn = j
		}
		a := until[control.Assign](p)
		p.send(control.Progress{ID: a.ID, Generation: a.Generation, State: state, Have: 8})
	}
	_, atBarn := pair["barn"].relayed(ctx)
	if err := s.api().RevokeDevice(ctx, "attic"); err != nil {
		t.Fatal(err)
	}
	if _, err := atBarn.Read(make([]byte, 1)); !errors.Is(err, link.ErrCancelled) {
		t.Errorf("barn reads %v", err)
	}
	eventually(t, "it is no peer any more", func() bool {
		j, err := s.api().Job(ctx, barn.ID)
		return err == nil && len(j.Paths) == 0
	})
}

func TestARelayRateOfZeroLeavesDevicesWithoutEachOther(t *testing.T) {
	cfg := local(t)
	cfg.NoRelay = true
	s := serve(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last apiclient.Job
	for name, state := range map[string]control.State{"attic": control.StateSeeding, "barn": control.StateDownloading} {
		p := s.puppet(ctx, name, link.QUIC)
		var err error
		if last, err = s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/announce"), Target: "device:" + name}); err != nil {
			t.Fatal(err)
		}
		a := until[control.Assign](p)
		p.send(control.Progress{ID: a.ID, Generation: a.Generation, State: state})
	}
	eventually(t, "it is said why there is no path", func() bool {
		j, err := s.api().Job(ctx, last.ID)
		return err == nil && len(j.Paths) == 1 && j.Paths[0].State == "hopeless" && strings.Contains(j.Paths[0].Why, "relays nothing")
	})
	if page := s.metrics(); !strings.Contains(page, "simplebit_relay_streams_total 0\n") {
		t.Error(page)
	}
}

// metrics is what an operator's Prometheus gets.
func (s *serving) metrics() string {
	s.t.Helper()
	token, err := os.ReadFile(s.TokenFile)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+s.HTTP+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer reply.Body.Close()
	page, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		s.t.Fatalf("%s, %v", reply.Status, err)
	}
	return string(page)
}
