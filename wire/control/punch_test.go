package control

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWhatAnAttemptTellsIsCutToTheLimits(t *testing.T) {
	at := addr("203.0.113.9:6881")
	told := Punched{
		Attempt: [8]byte{1}, RTT: time.Hour, Took: time.Hour, Method: strings.Repeat("m", MaxName+1), Why: strings.Repeat("w", MaxWhy) + "\n",
		Kept: 1 << 62, Chosen: strings.Repeat("c", MaxWhy) + "\n",
		Tries: slicesOf(PunchTry{Addr: at, Began: time.Hour, Heard: -time.Hour, Answered: 1999 * time.Microsecond}, MaxTries+1),
	}
	want := Punched{
		Attempt: [8]byte{1}, RTT: MaxPunchTime, Took: MaxPunchTime, Method: strings.Repeat("m", MaxName), Why: strings.Repeat("w", MaxWhy),
		Kept: MaxPunchKept, Chosen: strings.Repeat("c", MaxWhy),
		Tries: slicesOf(PunchTry{Addr: at, Began: MaxPunchTime, Heard: PunchNever, Answered: time.Millisecond}, MaxTries),
	}
	if got, err := ParseMessage(mustAppend(t, told)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for o, want := range map[PunchOutcome]string{0: "unknown", PunchConnected: "connected", PunchBusy: "busy", 6: "unknown", 255: "unknown"} {
		if o.String() != want {
			t.Errorf("%d: %s", uint8(o), o)
		}
	}
}
