package rendezvous

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/broker"
	"simplebit/wire/control"
)

func TestAnAttemptIsShownAsTheDeviceTellsIt(t *testing.T) {
	began := time.Date(2026, 11, 23, 4, 5, 6, 7_890_000, time.UTC)
	told := control.Punched{
		Outcome: control.PunchConnected, Remote: netip.MustParseAddrPort("192.168.1.7:6882"), LAN: true, RTT: 1500 * time.Microsecond,
		Took: 151 * time.Millisecond, Method: "known addresses", Why: "it stays within the local network", Others: 3,
		Tries: []control.PunchTry{
			{Addr: netip.MustParseAddrPort("192.168.1.7:6882"), Kind: nat.HostCandidate, Heard: time.Second, Answered: 2 * time.Second, Datagrams: 4},
			{Addr: netip.MustParseAddrPort("203.0.113.9:1"), Began: 5 * time.Millisecond, Heard: control.PunchNever, Answered: control.PunchNever},
			{Addr: netip.MustParseAddrPort("203.0.113.9:2"), Kind: 77},
		},
	}
	lost := control.Punched{
		Outcome: control.PunchLost, Remote: told.Remote, Why: "nothing was heard on it for 15s", Chosen: told.Why, Kept: 200 * time.Second,
	}
	for _, c := range []struct {
		a    broker.Attempt
		want apiclient.Attempt
	}{
		{broker.Attempt{Began: began, Outcome: broker.Silent, Controlling: true, Try: 2}, apiclient.Attempt{
			Began: began.Truncate(time.Millisecond), Outcome: "silent", Controlling: true, Try: 2, Tries: []apiclient.Try{}}},
		{broker.Attempt{Began: began, Outcome: broker.Lost, Told: &told}, apiclient.Attempt{
			Began: began.Truncate(time.Millisecond), Outcome: "lost", Method: "known addresses", Remote: "192.168.1.7:6882", LAN: true,
			RTT: 1500, Took: 151, Why: "it stays within the local network", Told: true,
			Ended: "the other device lost it, or nobody has vouched for it", Others: 3, Tries: []apiclient.Try{
				{Addr: "192.168.1.7:6882", Kind: "host", Heard: 1000, Answered: 2000, Datagrams: 4},
				{Addr: "203.0.113.9:1", Kind: "learned", Began: 5, Heard: -1, Answered: -1},
				{Addr: "203.0.113.9:2", Kind: "unknown"},
			}}},
		{broker.Attempt{Began: began, Outcome: broker.Lost, Told: &lost}, apiclient.Attempt{
			Began: began.Truncate(time.Millisecond), Outcome: "lost", Remote: "192.168.1.7:6882", Why: "it stays within the local network",
			Told: true, Ended: "nothing was heard on it for 15s", Kept: 200, Tries: []apiclient.Try{}}},
	} {
		if got := apiAttempt(c.a); !reflect.DeepEqual(got, c.want) {
			t.Errorf("got  %+v\nwant %+v", got, c.want)
		}
	}
}

func TestOutcomesAndStatesAreThoseOfTheAPI(t *testing.T) {
	enum := func(v any, field string) string {
		f, _ := reflect.TypeOf(v).FieldByName(field)
		return f.Tag.Get("enum")
	}
	var outcomes, states string
	for o := broker.Pending; o <= broker.Replaced; o++ {
		outcomes += "," + o.String()
	}
	for s := broker.Waiting; s <= broker.Relayed; s++ {
		states += "," + s.String()
	}
	if got := enum(apiclient.Attempt{}, "Outcome"); got != outcomes[1:] {
		t.Errorf("documented %s, shown %s", got, outcomes[1:])
	}
	if got := enum(apiclient.Path{}, "State"); got != states[1:] {
		t.Errorf("documented %s, shown %s", got, states[1:])
	}
}
