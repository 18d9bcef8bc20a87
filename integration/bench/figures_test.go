//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

// swarmOf is two agents, two others and a seeder that finish after so many seconds and send so many MiB of ten.
func swarmOf(seconds [4]int, sent [4]int64) []figures {
	all := []figures{{program: ours, name: "a"}, {program: ours, name: "b"}, {program: "aria2c", name: "c"}, {program: "aria2c", name: "d"}}
	for i := range all {
		all[i].finish, all[i].size = time.Duration(seconds[i])*time.Second, 10*mebibyte
		all[i].downloaded, all[i].uploaded, all[i].linkUp = 10*mebibyte, sent[i]*mebibyte, sent[i]*mebibyte
	}
	return append(all, figures{program: "aria2c", name: "seeder", size: 10 * mebibyte, uploaded: mebibyte, linkUp: mebibyte})
}

func TestAgentsAreJudgedByTheFirstOfTheOthersAndTheMedianRatio(t *testing.T) {
	for _, c := range []struct {
		what    string
		seconds [4]int
		sent    [4]int64
		says    []string
	}{
		{"as good as allowed", [4]int{108, 112, 100, 300}, [4]int64{4, 8, 6, 6}, []string{"plus 10 % 110.0 s: met", "the median of all leechers 0.60, of the others 0.60: met"}},
		{"too slow", [4]int{109, 113, 100, 100}, [4]int64{4, 8, 6, 6}, []string{"110.0 s: missed"}},
		{"too greedy", [4]int{90, 90, 100, 100}, [4]int64{1, 1, 6, 8}, []string{"110.0 s: met", "0.35, of the others 0.70: missed"}},
	} {
		got := judge(swarmOf(c.seconds, c.sent))
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\ndoes not say %q", c.what, got, want)
			}
		}
		if strings.Contains(got, "doubtful") {
			t.Errorf("%s: %s\ndoubts figures that agree", c.what, got)
		}
	}
}

func TestACountThatTheLinkContradictsIsDoubtful(t *testing.T) {
	for _, link := range []int64{5 * mebibyte, 30 * mebibyte} {
		all := swarmOf([4]int{90, 90, 90, 90}, [4]int64{6, 6, 6, 6})
		all[2].linkUp = link
		if got := judge(all); !strings.Contains(got, "c counts 6291456 bytes") || strings.Count(got, "doubtful") != 1 {
			t.Errorf("a link that carried %d bytes: %s\ndoes not doubt c alone", link, got)
		}
	}
}

func TestRunsAreCombinedClientByClient(t *testing.T) {
	all := medians([][]figures{
		swarmOf([4]int{1, 20, 3, 4}, [4]int64{1, 2, 3, 4}),
		swarmOf([4]int{9, 10, 1, 4}, [4]int64{5, 2, 3, 4}),
		swarmOf([4]int{5, 30, 2, 4}, [4]int64{3, 2, 3, 4}),
	})
	for i, want := range []time.Duration{5, 20, 2, 4, 0} {
		if all[i].finish != want*time.Second {
			t.Errorf("%s finishes after %v, want %d s", all[i].name, all[i].finish, want)
		}
	}
	if all[0].uploaded != 3*mebibyte {
		t.Errorf("a sent %d bytes, want 3 MiB", all[0].uploaded)
	}
}

func TestASectionIsReplacedAndOthersAreKept(t *testing.T) {
	doc := withSection(withSection([]byte("# P\n"), "one", "first"), "two", "second")
	doc = withSection(doc, "one", "again")
	want := "# P\n\n<!-- bench one -->\n\nagain\n<!-- end of bench one -->\n\n<!-- bench two -->\n\nsecond\n<!-- end of bench two -->\n"
	if string(doc) != want {
		t.Errorf("got\n%s\nwant\n%s", doc, want)
	}
}
