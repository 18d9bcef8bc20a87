//go:build linux

package matrix

import (
	"strings"
	"testing"

	"simplebit/rendezvous/apiclient"
)

func TestATableSaysWhatWasMetAndWhatWasMissed(t *testing.T) {
	tries := append(after(Direct, 250, 300), after(Relayed, 1760)...)
	rows := []Summary{
		Summarize(Row{Pair: pair(t, "bare:cgnat")}, tries),
		Summarize(Row{Pair: pair(t, "symmetric:symmetric")}, tries),
		Summarize(Row{Pair: pair(t, "cgnat-hairpin:same-home")}, after(LAN, 90)),
		Summarize(Row{Pair: pair(t, "none:ipv6-open")}, after(None, 0)),
	}
	var markdown, text strings.Builder
	if err := Markdown(&markdown, rows); err != nil {
		t.Fatal(err)
	}
	if err := Print(&text, rows); err != nil {
		t.Fatal(err)
	}
	const want = `| pair | tries | direct | lan | relayed | none | median (s) | 95 % (s) | bar |  |
|---|---:|---:|---:|---:|---:|---:|---:|---|---|
| bare:cgnat | 3 | 66.7 |  | 33.3 |  | 0.30 | 1.76 | direct ≥ 99 %, median < 1 s | MISSED |
| symmetric:symmetric | 3 | 66.7 |  | 33.3 |  | 0.30 | 1.76 | data in every try within 2 s | met |
| cgnat-hairpin:same-home | 1 |  | 100 |  |  | 0.09 | 0.09 | lan ≥ 99 %, median < 1 s | met |
| none:ipv6-open | 1 |  |  |  | 100 | – | – | data in every try within 2 s | MISSED |
`
	if markdown.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &markdown, want)
	}
	if lines := strings.Split(strings.TrimSpace(text.String()), "\n"); len(lines) != 5 || !strings.HasSuffix(lines[1], "MISSED") ||
		!strings.HasPrefix(lines[2], "symmetric:symmetric      3      66.7         33.3 ") {
		t.Errorf("printed\n%s", &text)
	}
}

func TestAnAccountSaysWhatWasTried(t *testing.T) {
	try := Try{Paths: []apiclient.Path{{State: "relayed", Why: "no path yet", Attempts: []apiclient.Attempt{
		{Method: "guessed ports", Outcome: "failed", Took: 4500, Why: "nothing was heard"},
		{Method: "guessed ports", Outcome: "pending"},
	}}}}
	const want = "relayed (no path yet): guessed ports failed after 4500 ms: nothing was heard; guessed ports pending after 0 ms: "
	if got := try.Account(); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}
