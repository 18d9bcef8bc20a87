package peer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// Handshakes as clients send them, and the example of BEP 10.
var extensionsTable = []struct {
	name, wire string
	want       Extensions
	same       bool // written back byte for byte
}{
	{"BEP 10", "d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e",
		Extensions{Port: 6881, Version: "\u00b5Torrent 1.2"}, false},
	{"libtorrent", "d12:complete_agoi1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee" +
		"13:metadata_sizei31235e4:reqqi500e11:upload_onlyi1e1:v18:qBittorrent/4.5.2 6:yourip4:\xc0\x00\x02\x01e",
		Extensions{MetadataID: 2, PexID: 1, HolepunchID: 4, DontHaveID: 7, UploadOnlyID: 3, MetadataSize: 31235, ReqQ: 500,
			Version: "qBittorrent/4.5.2 ", YourIP: netip.MustParseAddr("192.0.2.1"), UploadOnly: true}, false},
	{"ours", "d1:md11:lt_donthavei7e11:ut_metadatai3ee1:pi6882e4:reqqi128e1:v13:SimpleBit/0.16:yourip16:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01e",
		Extensions{DontHaveID: 7, MetadataID: 3, Port: 6882, ReqQ: 128, Version: "SimpleBit/0.1", YourIP: netip.MustParseAddr("2001:db8::1")}, true},
	{"nothing", "d1:mdee", Extensions{}, true},
	{"no m", "de", Extensions{}, false},
}

func TestExtensionHandshakesOfClientsAreRead(t *testing.T) {
	for _, c := range extensionsTable {
		got, err := ParseExtensions([]byte(c.wire))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got != c.want {
			t.Errorf("%s is read as %+v, want %+v", c.name, got, c.want)
		}
		out := string(got.AppendMarshal(nil))
		if c.same && out != c.wire {
			t.Errorf("%s is written as %q, want %q", c.name, out, c.wire)
		}
		if again, err := ParseExtensions([]byte(out)); err != nil || again != got {
			t.Errorf("%s came back as %+v, %v", c.name, again, err)
		}
	}
}

func TestEveryTruncatedExtensionHandshakeFails(t *testing.T) {
	wire := extensionsTable[2].wire
	for n := range wire {
		if _, err := ParseExtensions([]byte(wire[:n])); !errors.Is(err, ErrBencode) {
			t.Errorf("cut to %q: error %v, want ErrBencode", wire[:n], err)
		}
	}
}

// "the client should be able to handle handshake messages that only contain the changes" and "0 ... disabled" (BEP 10)
func TestLaterExtensionHandshakeChangesOnlyWhatItNames(t *testing.T) {
	e, err := ParseExtensions([]byte("d1:md11:ut_metadatai2e6:ut_pexi1ee4:reqqi250e1:v3:abce"))
	if err != nil {
		t.Fatal(err)
	}
	e, err = e.Update([]byte("d1:md6:ut_pexi0ee11:upload_onlyi1ee"))
	if err != nil {
		t.Fatal(err)
	}
	want := Extensions{MetadataID: 2, ReqQ: 250, Version: "abc", UploadOnly: true}
	if e != want {
		t.Errorf("after the second handshake %+v, want %+v", e, want)
	}
	if kept, err := e.Update([]byte("d1:md6:ut_pexi9ee4:reqqi1e")); err == nil || kept != want {
		t.Errorf("a broken third handshake gives %+v, %v; want an error and no change", kept, err)
	}
}

func TestNonsenseValuesInAnExtensionHandshakeCountAsNotSent(t *testing.T) {
	for _, wire := range []string{
		"d1:mi1ee", "d1:m3:abce", "d1:mlee", "d1:md11:ut_metadatai256eee", "d1:md11:ut_metadatai-1eee", "d1:md11:ut_metadata1:1ee",
		"d13:metadata_sizei-1ee", "d13:metadata_size4:1234e", "d1:pi65536ee", "d1:p2:abe", "d4:reqqi-5ee", "d4:reqqi9999999999ee",
		"d11:upload_only1:1e", "d1:vi1ee", "d6:yourip3:abce", "d6:yourip0:e", "d6:youripi4ee",
	} {
		got, err := ParseExtensions([]byte(wire))
		if err != nil || got != (Extensions{}) {
			t.Errorf("%q is read as %+v, %v; want nothing", wire, got, err)
		}
	}
}

func TestMalformedBencodingIsRefused(t *testing.T) {
	for _, wire := range []string{
		"", "e", "i1e", "le", "d", "d1:a", "d1:ae", "di1ei1ee", "d1:ai1e", "d1:ai e", "d1:aie", "d1:ai+1ee", "d1:ai--1ee", "d1:ai1",
		"d1:ai99999999999999999999eee", "d99999999999999999999:ae", "d4294967297:ae", "d2:ae", "d1-:ae", "d-1:ae", ":", "d:e",
		"d1:a" + strings.Repeat("l", 17) + strings.Repeat("e", 17) + "e",
		"d1:m" + strings.Repeat("d1:a", 1000),
	} {
		if _, err := ParseExtensions([]byte(wire)); !errors.Is(err, ErrBencode) {
			t.Errorf("%.40q: error %v, want ErrBencode", wire, err)
		}
	}
	deep := "d1:a" + strings.Repeat("l", 16) + strings.Repeat("e", 16) + "e"
	if _, err := ParseExtensions([]byte(deep)); err != nil {
		t.Errorf("16 lists deep: %v", err)
	}
}

func TestExtensionHandshakeAbove64KiBIsRefused(t *testing.T) {
	wire := "d1:x65550:" + strings.Repeat("x", 65550) + "e"
	if _, err := ParseExtensions([]byte(wire)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

func TestLongClientNameIsCut(t *testing.T) {
	e, err := ParseExtensions([]byte("d1:v100:" + strings.Repeat("x", 100) + "e"))
	if err != nil || len(e.Version) != 64 {
		t.Errorf("%d bytes kept, %v; want 64", len(e.Version), err)
	}
}

func TestOurAddressIsNeverAMappedOne(t *testing.T) {
	out := Extensions{YourIP: netip.MustParseAddr("::ffff:192.0.2.1")}.AppendMarshal(nil)
	if want := "d1:mde6:yourip4:\xc0\x00\x02\x01e"; string(out) != want {
		t.Errorf("written as %q, want %q", out, want)
	}
	e, err := ParseExtensions([]byte("d6:yourip16:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01e"))
	if err != nil || e.YourIP != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("read as %v, %v", e.YourIP, err)
	}
}

func FuzzExtensions(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseExtensions(b)
		if err != nil {
			return
		}
		out := e.AppendMarshal(nil)
		if again, err := ParseExtensions(out); err != nil || again != e {
			t.Errorf("%+v was written as %q and came back as %+v, %v", e, out, again, err)
		}
	})
}
