//go:build linux

package matrix

import "testing"

// FuzzPair takes any text: what is read as a pair is written as one that is read the same.
func FuzzPair(f *testing.F) {
	for _, text := range []string{"none:symmetric", "cgnat:same-carrier", "bare:same-home:no-relay", "symmetric:none", ":"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePair(text)
		if err != nil {
			return
		}
		if again, err := ParsePair(p.String()); err != nil || again != p {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, p, p, again, err)
		}
	})
}
