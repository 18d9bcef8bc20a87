package rendezvous

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/nat"
	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/session"
	"simplebit/wire/control"
)

func TestANetworkIsShownInTheWordsOfTheRFC(t *testing.T) {
	told := time.Date(2026, 11, 23, 3, 4, 5, 600, time.UTC)
	shown := func(change func(*apiclient.Network)) *apiclient.Network {
		n := &apiclient.Network{
			Checked: told.Truncate(time.Second), Public: "unknown", Mapping: "unknown", Filtering: "unknown", PortPreserved: "unknown",
			Hairpin: "unknown", Double: "unknown", Reachable: "unknown",
		}
		change(n)
		return n
	}
	for _, c := range []struct {
		what string
		n    session.Network
		want *apiclient.Network
	}{
		{"nothing told", session.Network{}, nil},
		{"nothing known", session.Network{Told: told}, shown(func(n *apiclient.Network) {
			n.Summary = "on a network that shows too little to tell whether direct connections work"
		})},
		{"all known", session.Network{Told: told, Network: nat.Network{
			Behaviour: nat.Behaviour{
				Public: nat.No, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressDependent, Preserved: nat.No, Step: -2,
				Hairpin: nat.Yes, Double: nat.No, Lifetime: 60 * time.Second, Reachable: nat.No,
			},
			Candidates: []nat.Candidate{
				{Kind: nat.ReflexiveCandidate, Addr: netip.MustParseAddrPort("203.0.113.7:40112")},
				{Kind: 9, Addr: netip.MustParseAddrPort("203.0.113.9:1")},
				{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort("192.168.1.7:6882"), TCP: true},
				{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort("[2001:db8::7]:6882")},
			},
		}}, shown(func(n *apiclient.Network) {
			n.Summary = "behind a home router that changes ports in a foreseeable way: most direct connections work"
			n.Public, n.Mapping, n.Filtering, n.PortPreserved = "no", "address and port-dependent", "address-dependent", "no"
			n.PortStep, n.Hairpin, n.Double, n.Lifetime, n.Reachable = -2, "yes", "no", 60, "no"
			n.Candidates = []apiclient.Candidate{
				{Kind: "host", Addr: "192.168.1.7:6882", TCP: true}, {Kind: "host", Addr: "[2001:db8::7]:6882"},
				{Kind: "reflexive", Addr: "203.0.113.7:40112"},
			}
		})},
		{"blocked, whatever else it tells", session.Network{Told: told, Network: nat.Network{
			Behaviour: nat.Behaviour{Blocked: true, Public: nat.Yes, Reachable: nat.Yes, Lifetime: time.Hour},
		}}, shown(func(n *apiclient.Network) {
			n.Blocked, n.Summary = true, "on a network that lets no UDP through, which most direct connections need"
		})},
		{"answers of a later version", session.Network{Told: told, Network: nat.Network{
			Behaviour: nat.Behaviour{Public: 9, Mapping: 9, Filtering: 9, Preserved: 9, Hairpin: 9, Double: 9, Reachable: 9},
		}}, shown(func(n *apiclient.Network) {
			n.Summary = "on a network that shows too little to tell whether direct connections work"
		})},
	} {
		if got := showNetwork(c.n); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.what, got, c.want)
		}
	}
}

func TestWhatADeviceToldOfItsNetworkIsShownUntilTheSurrogateRestarts(t *testing.T) {
	s := serve(t, local(t))
	invite, err := control.ParseInvite(s.invite())
	if err != nil {
		t.Fatal(err)
	}
	key, err := control.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	conf, err := control.AgentTLS(key, invite.Pin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.Control, conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []control.Message{
		control.Hello{Version: control.Version, Name: "attic", Token: invite.Token}, control.Synced{},
		control.Network{Behaviour: nat.Behaviour{Public: nat.No, Mapping: nat.EndpointIndependent}},
	} {
		if err := control.WriteMessage(stream, m); err != nil {
			t.Fatal(err)
		}
	}
	attic := func() apiclient.Device {
		d, err := s.api().Device(context.Background(), "attic")
		var refusal *apiclient.Error
		if err != nil && !(errors.As(err, &refusal) && refusal.Status == 404) {
			t.Fatal(err)
		}
		return d
	}
	eventually(t, "the network is shown", func() bool { return attic().Network != nil })
	online := attic()
	if !online.Online || online.Network.Summary != "behind a home router that allows direct connections" || time.Since(online.Network.Checked) > patience {
		t.Errorf("%+v", online.Network)
	}
	conn.CloseWithError(0, "")
	eventually(t, "the device is offline", func() bool { return !attic().Online })
	if offline := attic(); !reflect.DeepEqual(offline.Network, online.Network) {
		t.Errorf("offline: %+v", offline.Network)
	}
	if all, err := s.api().Devices(context.Background()); err != nil || len(all) != 1 || !reflect.DeepEqual(all[0].Network, online.Network) {
		t.Errorf("in the list: %+v, %v", all, err)
	}
	s.stop()
	s = serve(t, s.cfg)
	if again := attic(); again.Name != "attic" || again.Network != nil {
		t.Errorf("after a restart: %+v", again)
	}
}
