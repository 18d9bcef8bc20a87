package metainfo

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

func TestScanTakesOneWellFormedValue(t *testing.T) {
	for _, good := range []string{
		"i0e", "i-1e", "i9223372036854775807e", "0:", "3:abc", "le", "de", "li1e1:ae", "d1:ai1e1:bdee",
		"d1:bi1e1:ai2ee", // keys out of order
		strings.Repeat("l", maxDepth) + strings.Repeat("e", maxDepth), // nested as deep as allowed
	} {
		if err := scan([]byte(good)); err != nil {
			t.Errorf("scan(%.40q) = %v", good, err)
		}
		for n := range len(good) {
			if scan([]byte(good[:n])) == nil {
				t.Errorf("scan takes the first %d bytes of %.40q", n, good)
			}
		}
	}
}

func TestScanRefusesEverythingElse(t *testing.T) {
	for _, bad := range []struct{ in, reason string }{
		{"", "middle"},
		{"x", "unexpected byte"},
		{"e", "unexpected byte"},
		{"i1ei2e", "3 bytes follow"},
		{"ie", "malformed integer"},
		{"i-e", "malformed integer"},
		{"i01e", "malformed integer"},
		{"i-0e", "malformed integer"},
		{"i+1e", "malformed integer"},
		{"i1", "middle"},
		{"i10000000000000000000e", "malformed integer"},
		{"01:a", "malformed string length"},
		{"1", "middle"},
		{"2:a", "longer than what is left"},
		{"99999999999999999999:a", "longer than what is left"},
		{"-1:a", "unexpected byte"},
		{"di1ei2ee", "where a string must be"},
		{"d1:ae", "unexpected byte"},
		{"d1:ai1e1:ai2ee", `"a" appears twice`},
		{"d1:bi1e1:ai1e1:bi2ee", `"b" appears twice`},
		{"d1:xd1:ai1e1:ai2eee", `"a" appears twice`},
		{strings.Repeat("l", maxDepth+1) + strings.Repeat("e", maxDepth+1), "nested"},
		{"d1:a" + strings.Repeat("l", 4<<20), "nested"},
		{"i" + strings.Repeat("9", 4<<20) + "e", "malformed integer"},
		{"l" + strings.Repeat("0:", maxValues) + "e", "values"},
		{"d" + unsortedKeys(maxUnsorted+1) + "e", "not in order"},
	} {
		if err := scan([]byte(bad.in)); err == nil || !strings.Contains(err.Error(), bad.reason) {
			t.Errorf("scan(%.40q) = %v, want an error with %q", bad.in, err, bad.reason)
		}
	}
}

func unsortedKeys(n int) string {
	var b strings.Builder
	for i := n; i > 0; i-- {
		b.WriteString("6:" + strconv.Itoa(100000+i) + "0:")
	}
	return b.String()
}

// rebuild writes a scanned value again from what entries and items yield.
func rebuild(value []byte) []byte {
	switch {
	case is(value, 'd'):
		b := []byte{'d'}
		for key, v := range entries(value) {
			b = append(b, strconv.Itoa(len(key))+":"+key...)
			b = append(b, rebuild(v)...)
		}
		return append(b, 'e')
	case is(value, 'l'):
		b := []byte{'l'}
		for v := range items(value) {
			b = append(b, rebuild(v)...)
		}
		return append(b, 'e')
	case is(value, 's'):
		s := text(value)
		return append([]byte(strconv.Itoa(len(s))+":"), s...)
	}
	return value
}

func FuzzScan(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if scan(b) == nil && !bytes.Equal(rebuild(b), b) {
			t.Errorf("%q is read as %q", b, rebuild(b))
		}
	})
}
