package dht

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var tables = []struct {
	name  string
	bytes string
	table savedTable
}{
	{
		"no nodes", "5342444854 31" + strings.Repeat("61", 20) + "00000000 0000" + strings.Repeat("00", 20) + strings.Repeat("00", 16) + "0000",
		savedTable{v4: savedFamily{id: id('a')}},
	}, {
		"both families", "534244485431" +
			strings.Repeat("61", 20) + "c6120102 0002" + strings.Repeat("62", 20) + "c61202021ae1" + strings.Repeat("63", 20) + "c61203021ae2" +
			strings.Repeat("64", 20) + "20010db8000000010000000000000002 0001" + strings.Repeat("65", 20) + "20010db8000000020000000000000002 1ae1",
		savedTable{
			savedFamily{id('a'), netip.MustParseAddr("198.18.1.2"), []node{{id('b'), ap("198.18.2.2:6881")}, {id('c'), ap("198.18.3.2:6882")}}},
			savedFamily{id('d'), netip.MustParseAddr("2001:db8:0:1::2"), []node{{id('e'), ap("[2001:db8:0:2::2]:6881")}}},
		},
	},
}

func tableBytes(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNodeTablesAreSavedAndLoaded(t *testing.T) {
	for _, c := range tables {
		b := tableBytes(t, c.bytes)
		if got, err := parseSaved(b); err != nil || !reflect.DeepEqual(got, c.table) {
			t.Errorf("%s is loaded as %+v, %v", c.name, got, err)
		}
		if got := c.table.appendMarshal(nil); !bytes.Equal(got, b) {
			t.Errorf("%s is saved as %x", c.name, got)
		}
	}
	if got, err := parseSaved(nil); err != nil || !reflect.DeepEqual(got, savedTable{}) {
		t.Errorf("nothing is loaded as %+v, %v", got, err)
	}
}

func TestDamagedNodeTablesAreRefused(t *testing.T) {
	for _, c := range tables {
		b := tableBytes(t, c.bytes)
		for n := 1; n < len(b); n++ {
			if got, err := parseSaved(b[:n]); err == nil {
				t.Errorf("%s cut to %d bytes is loaded as %+v", c.name, n, got)
			}
		}
		for name, bad := range map[string][]byte{
			"longer":       append(bytes.Clone(b), 0),
			"version 2":    append([]byte("SBDHT2"), b[6:]...),
			"65,535 nodes": append(append(bytes.Clone(b[:6+24]), 0xff, 0xff), b[6+26:]...),
		} {
			if got, err := parseSaved(bad); err == nil {
				t.Errorf("%s, %s, is loaded as %+v", c.name, name, got)
			}
		}
	}
}

func FuzzSavedTable(f *testing.F) {
	for _, c := range tables {
		f.Add(tableBytes(f, c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := parseSaved(b)
		if err != nil || len(b) == 0 {
			return
		}
		if got := table.appendMarshal(nil); !bytes.Equal(got, b) {
			t.Errorf("%x was saved again as %x", b, got)
		}
		if len(table.v4.nodes) > maxSaved || len(table.v6.nodes) > maxSaved {
			t.Errorf("%x has %d and %d nodes", b, len(table.v4.nodes), len(table.v6.nodes))
		}
	})
}
