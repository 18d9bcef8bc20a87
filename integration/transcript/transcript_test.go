package transcript

import (
	"strings"
	"testing"
)

func TestOutputIsWrittenAnewAndCommentsStay(t *testing.T) {
	shout := func(words []string) string { return strings.ToUpper(strings.Join(words, " ")) + "\n" }
	for _, c := range []struct{ transcript, want string }{
		{"What this shows.\n\nsay it\nagain\n----\nwrong\n", "What this shows.\n\nsay it\nagain\n----\nSAY IT\nAGAIN\n"},
		{"say it\n----\nSAY IT\n\nmore\n----\n", "say it\n----\nSAY IT\n\nmore\n----\nMORE\n"},
		{"\nsilent\n", "silent\n"},
	} {
		if got := replay(c.transcript, shout); got != c.want {
			t.Errorf("%q became %q, want %q", c.transcript, got, c.want)
		}
	}
}
