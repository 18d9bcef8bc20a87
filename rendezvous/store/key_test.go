package store

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

var keys = []struct{ key, encoded string }{
	{"deployment", "deployment"},
	{"0123456789abcdef-XYZ", "0123456789abcdef-XYZ"},
	{"a.b", "a=2Eb"},
	{"*", "=2A"},
	{">", "=3E"},
	{"_kv", "=5Fkv"},
	{"a=b", "a=3Db"},
	{"../../etc/passwd", "=2E=2E=2F=2E=2E=2Fetc=2Fpasswd"},
	{"Dachboden über dem Flur", "Dachboden=20=C3=BCber=20dem=20Flur"},
	{"\x00\r\n", "=00=0D=0A"},
}

func TestAnyBytesMakeOneSubjectToken(t *testing.T) {
	for _, k := range keys {
		got, err := encodeKey(k.key)
		if err != nil || got != k.encoded {
			t.Errorf("encodeKey(%q) = %q, %v, want %q", k.key, got, err, k.encoded)
		}
		back, err := decodeKey(k.encoded)
		if err != nil || back != k.key {
			t.Errorf("decodeKey(%q) = %q, %v, want %q", k.encoded, back, err, k.key)
		}
	}
}

func TestKeysOfWrongLengthAreRefused(t *testing.T) {
	for _, key := range []string{"", strings.Repeat("k", MaxKey+1)} {
		if _, err := encodeKey(key); !errors.Is(err, ErrInvalid) {
			t.Errorf("key of %d bytes: %v", len(key), err)
		}
	}
	if _, err := encodeKey(strings.Repeat(".", MaxKey)); err != nil {
		t.Error(err)
	}
}

func TestForeignKeysAreRefused(t *testing.T) {
	for _, s := range []string{"", "=", "=2", "=2e", "=41", "=GG", "a.b", "a b", "ü", strings.Repeat("k", MaxKey+1)} {
		if key, err := decodeKey(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("decodeKey(%q) = %q, %v", s, key, err)
		}
	}
	for _, k := range keys {
		for i := range k.encoded {
			if key, err := decodeKey(k.encoded[:i]); err == nil && !strings.HasPrefix(k.key, key) {
				t.Errorf("a truncated %q became %q", k.encoded, key)
			}
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, k := range keys {
		f.Add(k.key)
	}
	valid := regexp.MustCompile(`^[-=a-zA-Z0-9]+$`)
	f.Fuzz(func(t *testing.T, key string) {
		encoded, err := encodeKey(key)
		if err == nil {
			if !valid.MatchString(encoded) {
				t.Errorf("%q is not one token of a subject", encoded)
			}
			if back, err := decodeKey(encoded); err != nil || back != key {
				t.Errorf("%q came back as %q, %v", key, back, err)
			}
		}
		// The same bytes as something found on disk.
		if decoded, err := decodeKey(key); err == nil {
			if back, err := encodeKey(decoded); err != nil || back != key {
				t.Errorf("%q decodes to %q, which encodes to %q, %v", key, decoded, back, err)
			}
		}
	})
}
