//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

// partOf is what was seen of a flow that makes packets wait so long, and leaves the rest to TCP.
func partOf(wait time.Duration, flow, tcp float64) part {
	return part{waits: []time.Duration{wait / 2, wait, 2 * wait}, sent: 3, flow: flow, tcp: tcp}
}

func TestADelayIsJudgedByTheMedianAndTheShares(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		what   string
		result delayResult
		says   []string
	}{
		{"as wanted", delayResult{alone: partOf(100*ms, 1000, 0), beside: partOf(200*ms, 100, 900), after: partOf(100*ms, 900, 0)},
			[]string{"waiting 100 ms of the queue's 200, wanted 80 to 120: met", "takes 10 % beside TCP, wanted at most 20 %, and afterwards 90 % of its pace before, wanted at least 80 %: met"}},
		{"too long", delayResult{alone: partOf(121*ms, 1000, 0), beside: partOf(200*ms, 300, 700), after: partOf(100*ms, 900, 0)},
			[]string{"waiting 121 ms of the queue's 200, wanted 80 to 120: missed", "takes 30 % beside TCP, wanted at most 20 %, and afterwards 90 % of its pace before, wanted at least 80 %: missed"}},
		{"does not come back", delayResult{alone: partOf(79*ms, 1000, 0), beside: partOf(200*ms, 100, 900), after: partOf(10*ms, 700, 0)},
			[]string{"waiting 79 ms of the queue's 200, wanted 80 to 120: missed", "afterwards 70 % of its pace before, wanted at least 80 %: missed"}},
	} {
		c.result.ours, c.result.first = true, partOf(150*ms, 1000, 0)
		got := delayTable([]delayResult{c.result}, 200*ms)
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\ndoes not say %q", c.what, got, want)
			}
		}
	}
}

func TestUTPAndTCPAreCountedApartWithTheirHeaders(t *testing.T) {
	const nft = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, ` +
		`{"counter": {"family": "inet", "name": "by_utp", "table": "bench", "handle": 2, "packets": 10, "bytes": 15000}}, ` +
		`{"counter": {"family": "inet", "name": "by_tcp", "table": "bench", "handle": 3, "packets": 2, "bytes": 3000}}]}`
	now := time.Unix(1, 0)
	before, err := parseCounters([]byte(nft), now)
	if err != nil || before.utp != 15140 || before.tcp != 3028 {
		t.Fatalf("counters read %+v, %v", before, err)
	}
	after := passed{now.Add(2 * time.Second), 15140 + 4000, 3028 + 1000}
	if utp, tcp := after.since(before); utp != 2000 || tcp != 500 {
		t.Errorf("rates are %v and %v, want 2000 and 500", utp, tcp)
	}
	for _, bad := range []string{"", "{}", strings.ReplaceAll(nft, `"name": "by_tcp"`, `"name": "by_utp"`)} {
		if _, err := parseCounters([]byte(bad), now); err == nil {
			t.Errorf("%q is taken for counters", bad)
		}
	}
}

func TestASoakIsJudgedByWhatWasRead(t *testing.T) {
	for read, want := range map[int64]string{
		490: "read 49.0 MiB/s (51.4 MB/s) of payload, every byte as it was sent, wanted at least 49.0, 98 % of the rate: met",
		489: "read 48.9 MiB/s (51.3 MB/s) of payload, every byte as it was sent, wanted at least 49.0, 98 % of the rate: missed",
	} {
		ends := []*flowEnd{{name: "receiver", early: []int64{mebibyte}, late: []int64{mebibyte}, cpu: time.Second}}
		if got := soakTable(ends, flowed{read * mebibyte, 10 * time.Second}, 50*mebibyte); !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say %q", got, want)
		}
	}
}
