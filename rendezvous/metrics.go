package rendezvous

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"simplebit/rendezvous/apiclient"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

// metrics writes what an operator may want to watch, in Prometheus' text format; docs/operations.md says what each is. They name
// no device, user or torrent.
func (s *surrogate) metrics(w io.Writer) {
	counter := func(name string, n int64) { metrics.WriteCounterUint64(w, "simplebit_"+name, uint64(n)) }
	gauge := func(name string, n int) { metrics.WriteGaugeUint64(w, "simplebit_"+name, uint64(n)) }

	relayed := s.relays.Totals()
	counter("relay_bytes_total", relayed.Bytes)
	gauge("relay_streams", relayed.Live)
	counter("relay_streams_total", relayed.Started)
	counter("relay_refused_total", relayed.Refused)

	enrolled, online := 0, map[link.Transport]int{}
	for id, d := range *s.devices.known.Load() {
		if !d.Revoked {
			enrolled++
		}
		if line, ok := s.hub.Line(control.DeviceID(id)); ok {
			online[line.Transport]++
		}
	}
	gauge("devices_enrolled", enrolled)
	for _, t := range []link.Transport{link.QUIC, link.TCP} {
		gauge(fmt.Sprintf("devices_online{control=%q}", t), online[t])
	}

	states := map[apiclient.State]int{}
	for _, v := range s.jobs.List() {
		states[apiclient.State(v.State)]++
	}
	for _, state := range []apiclient.State{
		apiclient.StateMetadata, apiclient.StateWaiting, apiclient.StateChecking, apiclient.StateDownloading, apiclient.StateSeeding,
		apiclient.StateFinished, apiclient.StatePaused, apiclient.StateFailed, apiclient.StateRemoving,
	} {
		gauge(fmt.Sprintf("jobs{state=%q}", state), states[state])
	}

	for o := range s.punched {
		counter(fmt.Sprintf("punch_reports_total{outcome=%q}", control.PunchOutcome(o)), s.punched[o].Load())
	}
	metrics.WriteProcessMetrics(w)
}

// punchCounts is how often devices have told each control.PunchOutcome; 0 is for those of later agents.
type punchCounts [control.PunchBusy + 1]atomic.Int64

func (c *punchCounts) count(o control.PunchOutcome) {
	if int(o) >= len(c) {
		o = 0
	}
	c[o].Add(1)
}
