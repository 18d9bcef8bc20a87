package account

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWishedNamesAreMadeToFitAndUnique(t *testing.T) {
	a, _ := open(t, t.TempDir())
	long := strings.Repeat("router-", 10)
	for i, c := range []struct{ wish, got string }{
		{"attic", "attic"},
		{"ATTIC", "attic-2"},
		{"attic", "attic-3"},
		{"attic-2", "attic-2-2"},
		{"", "device"},
		{"---", "device-2"},
		{"Dachboden über dem Flur", "dachboden-ber-dem-flur"},
		{"../../etc/passwd", "etc-passwd"},
		{"OpenWrt.lan", "openwrt-lan"},
		{long, "router-router-router-router-rout"},
		{long, "router-router-router-router-ro-2"},
		{strings.Repeat("a", 31) + "-b", strings.Repeat("a", 31)},
	} {
		if d := enrol(t, a, id("dev"+string(rune('a'+i))), c.wish); d.Name != c.got || !isName(d.Name) {
			t.Errorf("%q became %q, want %q", c.wish, d.Name, c.got)
		}
	}
}

func TestDevicesAreFoundByNameIDAndItsBeginning(t *testing.T) {
	a, _ := open(t, t.TempDir())
	first, second := enrol(t, a, id("abcdef"), "attic"), enrol(t, a, id("abcdxy"), "cellar")
	// A name wins over the beginning of another's id.
	third := enrol(t, a, id("zzzz"), "abcde")
	for _, c := range []struct {
		given string
		want  Device
		err   error
	}{
		{given: "attic", want: first},
		{given: "ATTIC", want: first},
		{given: second.ID, want: second},
		{given: strings.ToUpper(second.ID), want: second},
		{given: "abcdx", want: second},
		{given: "abcde", want: third},
		{given: "abcdef", want: first},
		{given: "abcd", err: ErrAmbiguous},
		{given: "abc", err: ErrNotFound}, // too short to be meant
		{given: "", err: ErrNotFound},
		{given: "garage", err: ErrNotFound},
		{given: "*", err: ErrNotFound},
		{given: id("abcdef") + "7", err: ErrNotFound},
	} {
		if got, err := a.Device(t.Context(), c.given); !errors.Is(err, c.err) || got != c.want {
			t.Errorf("%q: %+v, %v", c.given, got, err)
		}
	}
}

func TestRenamedDeviceKeepsItsNewNameOnly(t *testing.T) {
	a, _ := open(t, t.TempDir())
	enrol(t, a, id("a"), "attic")
	enrol(t, a, id("b"), "cellar")
	if d, err := a.Rename(t.Context(), "attic", "garage"); err != nil || d.Name != "garage" || d.ID != id("a") {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := a.Device(t.Context(), "attic"); !errors.Is(err, ErrNotFound) {
		t.Errorf("old name: %v", err)
	}
	if d, err := a.Admit(t.Context(), start, id("a"), "", "attic"); err != nil || d.Name != "garage" {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := a.Rename(t.Context(), "garage", "cellar"); !errors.Is(err, ErrNameTaken) {
		t.Error(err)
	}
	if _, err := a.Rename(t.Context(), "garage", "garage"); err != nil {
		t.Error(err)
	}
	if _, err := a.Rename(t.Context(), "attic", "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for _, bad := range []string{"", "-a", "Garage", "a b", "a.b", "ä", strings.Repeat("a", 33)} {
		if _, err := a.Rename(t.Context(), "garage", bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := a.Rename(t.Context(), "cellar", "attic"); err != nil {
		t.Errorf("a name that was given up: %v", err)
	}
}

func TestTwoDevicesNeverShareAName(t *testing.T) {
	a, _ := open(t, t.TempDir())
	devices := []string{id("a"), id("b"), id("c"), id("d")}
	for _, device := range devices {
		enrol(t, a, device, "")
	}
	var wg sync.WaitGroup
	errs := make([]error, len(devices))
	for i, device := range devices {
		wg.Go(func() { _, errs[i] = a.Rename(t.Context(), device, "attic") })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrNameTaken) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d devices were named attic", won)
	}
}

func TestRevokedKeyIsRefusedForGood(t *testing.T) {
	dir := t.TempDir()
	a, s := open(t, dir)
	enrol(t, a, id("a"), "attic")
	want := Device{ID: id("a"), Name: "attic", Created: start, Revoked: true}
	if d, err := a.Revoke(t.Context(), "attic"); err != nil || d != want {
		t.Errorf("%+v, %v", d, err)
	}
	s.Close()

	a, _ = open(t, dir)
	token := invite(t, a, start)
	for _, token := range []string{"", token} {
		if _, err := a.Admit(t.Context(), start, id("a"), token, "attic"); !errors.Is(err, ErrRevoked) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	// With a new key the same machine may have its invite and its name again.
	if d, err := a.Admit(t.Context(), start.Add(time.Minute), id("b"), token, "attic"); err != nil || d.Name != "attic" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := a.Device(t.Context(), "attic"); err != nil || d.ID != id("b") {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := a.Device(t.Context(), id("a")); err != nil || d != want {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := a.Revoke(t.Context(), id("a")); err != nil || d != want {
		t.Errorf("revoked again: %+v, %v", d, err)
	}
	if _, err := a.Rename(t.Context(), id("a"), "x"); !errors.Is(err, ErrRevoked) {
		t.Error(err)
	}
	if all, err := a.Devices(t.Context()); err != nil || len(all) != 2 || all[0] != want {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestRevocationThatIsCutOffIsCompleted(t *testing.T) {
	dir := t.TempDir()
	a, s := open(t, dir)
	enrol(t, a, id("a"), "attic")
	check(t, a.devices.Put(t.Context(), id("a"), deviceRecord{Created: start, Revoked: true, Was: "attic"}))
	if _, err := a.Device(t.Context(), "attic"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	s.Close()
	a, _ = open(t, dir)
	if d := enrol(t, a, id("b"), "attic"); d.Name != "attic" {
		t.Errorf("the name of a revoked device is kept from %+v", d)
	}
}

func TestNoMoreDevicesThanTheLimit(t *testing.T) {
	a, _ := open(t, t.TempDir())
	names := map[string]string{}
	for i := range MaxDevices - 1 {
		letters := make([]byte, 4)
		for j := range letters {
			letters[j] = byte('a' + i%26)
			i /= 26
		}
		names[strings.Repeat("n", maxName-4)+string(letters)] = id(string(letters))
	}
	check(t, a.names.Put(t.Context(), theNames, names)) // the longest names there are fit into one record
	enrol(t, a, id("last"), "")
	if _, err := a.Admit(t.Context(), start, id("more"), invite(t, a, start), ""); !errors.Is(err, ErrTooManyDevices) {
		t.Error(err)
	}
	_, err := a.Admit(t.Context(), start, id("last"), "", "")
	check(t, err)
}

func FuzzName(f *testing.F) {
	f.Add("Attic Pi!")
	f.Fuzz(func(t *testing.T, wish string) {
		name := normalName(wish)
		if !isName(name) || normalName(name) != name {
			t.Errorf("%q becomes %q, which becomes %q", wish, name, normalName(name))
		}
		if isName(wish) && !strings.Contains(wish, "--") && !strings.HasSuffix(wish, "-") && name != wish {
			t.Errorf("%q is a name and becomes %q", wish, name)
		}
		if other := uniqueName(map[string]string{name: "x"}, name); !isName(other) || other == name {
			t.Errorf("besides %q there is %q", name, other)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("abcdefgh.abcdefghijklmnopqrstuvwxyz")
	f.Fuzz(func(t *testing.T, token string) {
		clean, id, ok := parseToken(token)
		if !ok {
			return
		}
		again, sameID, ok := parseToken(clean)
		if !ok || again != clean || sameID != id || !isBase32(id) || !strings.EqualFold(clean, strings.TrimSpace(token)) {
			t.Errorf("%q is %q of invite %q, which is %q of %q", token, clean, id, again, sameID)
		}
	})
}
