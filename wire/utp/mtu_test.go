package utp

import (
	"testing"
	"time"
)

// search runs a search over a path that takes datagrams of fits bytes, and returns the probes.
func search(m *mtuSearch, now time.Duration, fits int) (probes []int) {
	for seq := uint16(0); m.wants(now) && len(probes) < 100; seq++ {
		m.begin(seq)
		probes = append(probes, m.probing)
		if m.probing <= fits {
			m.arrived(now, seq)
		} else {
			m.lost(now, seq)
		}
	}
	return probes
}

func TestMTUSearchFindsEverySizeInFewProbes(t *testing.T) {
	for most := 600; most <= 9000; most += 100 {
		for fits := safeDatagram; fits <= most; fits += 7 {
			m := newMTUSearch(most)
			probes := search(&m, time.Second, fits)
			if m.floor > fits || m.floor < fits-mtuEnough {
				t.Fatalf("of at most %d, %d fit and it found %d", most, fits, m.floor)
			}
			if len(probes) > 2*12 {
				t.Fatalf("of at most %d, %d fit: %d probes %v", most, fits, len(probes), probes)
			}
		}
	}
}

func TestOrdinaryPathNeedsOneProbe(t *testing.T) {
	m := newMTUSearch(1472)
	if probes := search(&m, time.Second, 1472); len(probes) != 1 || m.floor != 1472 {
		t.Errorf("%v found %d", probes, m.floor)
	}
}

func TestOneLostProbeProvesNothing(t *testing.T) {
	m := newMTUSearch(1472)
	m.begin(7)
	if m.lost(0, 8) || !m.lost(0, 7) || m.lost(0, 7) {
		t.Error("which packet the probe was is not known")
	}
	if search(&m, time.Second, 1472); m.floor != 1472 {
		t.Errorf("it found %d", m.floor)
	}
}

func TestSearchIsMadeAgainAfterTenMinutes(t *testing.T) {
	m := newMTUSearch(1472)
	search(&m, time.Second, 1300)
	if m.wants(mtuSearchAgain) {
		t.Error("it begins too early")
	}
	search(&m, time.Second+mtuSearchAgain, 1472)
	if m.floor != 1472 {
		t.Errorf("it found %d", m.floor)
	}
}

func TestSizeThatTheKernelRefusesIsNotTriedAgain(t *testing.T) {
	c := newCouple(t)
	c.a.write(make([]byte, 20_000))
	_, size, _ := c.a.poll(c.now, make([]byte, 0, 64<<10))
	if size != 1472 {
		t.Fatalf("the first probe is %d bytes", size)
	}
	c.a.sendFailedTooLong(size)
	out, size, _ := c.a.poll(c.now, make([]byte, 0, 64<<10))
	if p, err := parsePacket(out[:size]); err != nil || p.seq != c.a.send.una || size != safeDatagram {
		t.Errorf("then it sends %d bytes, packet %d of %d: %v", size, p.seq, c.a.send.una, err)
	}
	c.settle()
	if got := c.a.mtu.ceiling; got > 1471 {
		t.Errorf("it may still try %d", got)
	}
}

// The interface itself became narrower: what is sent from now on is short.
func TestSizeThatWasGoodAndIsRefusedIsGivenUp(t *testing.T) {
	m := newMTUSearch(1472)
	search(&m, time.Second, 1472)
	m.tooLong(time.Second, 1472)
	if m.floor != safeDatagram {
		t.Errorf("it goes on with %d", m.floor)
	}
	search(&m, time.Second, 1400)
	if m.floor > 1400 || m.floor < 1400-mtuEnough {
		t.Errorf("it found %d", m.floor)
	}
}

func TestSmallLimitIsObeyed(t *testing.T) {
	for _, most := range []int{100, 548, 560} {
		c := newInitiator(time.Unix(0, 0), coreConfig{MaxDatagram: most})
		if c.mtu.floor > most || c.mtu.wants(time.Hour) {
			t.Errorf("of at most %d it sends %d", most, c.mtu.floor)
		}
	}
}
