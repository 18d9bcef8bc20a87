package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"simplebit/rendezvous/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// id returns a device id that begins with the letters.
func id(letters string) string {
	return letters + strings.Repeat("7", deviceIDLength-len(letters))
}

func open(t *testing.T, dir string) (*Accounts, *store.Store) {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	check(t, err)
	t.Cleanup(s.Close)
	a, err := Open(t.Context(), s)
	check(t, err)
	return a, s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func invite(t *testing.T, a *Accounts, now time.Time) string {
	t.Helper()
	i, err := a.Invite(t.Context(), now)
	check(t, err)
	return i.Token
}

func enrol(t *testing.T, a *Accounts, device, name string) Device {
	t.Helper()
	d, err := a.Admit(t.Context(), start, device, invite(t, a, start), name)
	check(t, err)
	return d
}

func TestInvitedDeviceIsEnrolledForGood(t *testing.T) {
	dir := t.TempDir()
	a, s := open(t, dir)
	if _, err := a.Admit(t.Context(), start, id("a"), "", "attic"); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("without a token: %v", err)
	}
	want := Device{ID: id("a"), Name: "attic-pi", Created: start}
	if got := enrol(t, a, id("a"), "Attic Pi!"); got != want {
		t.Errorf("joined as %+v, want %+v", got, want)
	}
	s.Close()

	a, _ = open(t, dir)
	later := start.Add(1000 * time.Hour)
	// Only the key counts now: the wish is not looked at, nor the token.
	for _, token := range []string{"", "nonsense"} {
		if got, err := a.Admit(t.Context(), later, id("a"), token, "cellar"); err != nil || got != want {
			t.Errorf("came back as %+v, %v", got, err)
		}
	}
	if all, err := a.Devices(t.Context()); err != nil || !slices.Equal(all, []Device{want}) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestInviteIsForOneDevice(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	for range 3 {
		_, err := a.Admit(t.Context(), start, id("a"), token, "")
		check(t, err)
	}
	if _, err := a.Admit(t.Context(), start, id("b"), token, ""); !errors.Is(err, ErrInviteUsed) {
		t.Error(err)
	}
	if all, err := a.Devices(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestOneOfTwoKeysWinsTheInvite(t *testing.T) {
	a, _ := open(t, t.TempDir())
	for round := range 15 {
		token := invite(t, a, start)
		devices := []string{id(fmt.Sprintf("a%c", 'a'+round)), id(fmt.Sprintf("b%c", 'a'+round)), id(fmt.Sprintf("c%c", 'a'+round))}
		errs := make([]error, len(devices))
		var wg sync.WaitGroup
		for i, device := range devices {
			wg.Go(func() { _, errs[i] = a.Admit(t.Context(), start, device, token, "racer") })
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			_, known := a.Admit(t.Context(), start, devices[i], "", "")
			switch {
			case err == nil && known == nil:
				won++
			case !errors.Is(err, ErrInviteUsed) || !errors.Is(known, ErrNotEnrolled):
				t.Errorf("round %d: %v, then %v", round, err, known)
			}
		}
		if won != 1 {
			t.Errorf("round %d: %d keys were enrolled with one invite", round, won)
		}
	}
	all, err := a.Devices(t.Context())
	check(t, err)
	names := map[string]bool{}
	for _, d := range all {
		names[d.Name] = true
	}
	if len(all) != 15 || len(names) != 15 {
		t.Errorf("%d devices with %d names", len(all), len(names))
	}
}

func TestOneKeyJoiningTwiceAtOnceIsOneDevice(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	var wg sync.WaitGroup
	devices, errs := make([]Device, 6), make([]error, 6)
	for i := range devices {
		wg.Go(func() { devices[i], errs[i] = a.Admit(t.Context(), start, id("a"), token, "attic") })
	}
	wg.Wait()
	for i := range devices {
		if want := (Device{ID: id("a"), Name: "attic", Created: start}); errs[i] != nil || devices[i] != want {
			t.Errorf("%+v, %v", devices[i], errs[i])
		}
	}
}

func TestInviteExpiresAfterFifteenMinutes(t *testing.T) {
	a, _ := open(t, t.TempDir())
	i, err := a.Invite(t.Context(), start)
	check(t, err)
	if want := start.Add(15 * time.Minute); !i.Expires.Equal(want) {
		t.Errorf("expires at %v, want %v", i.Expires, want)
	}
	for _, after := range []time.Duration{15 * time.Minute, 20 * time.Hour} {
		if _, err := a.Admit(t.Context(), start.Add(after), id("a"), i.Token, ""); !errors.Is(err, ErrInviteExpired) {
			t.Errorf("after %v: %v", after, err)
		}
	}
	_, err = a.Admit(t.Context(), i.Expires.Add(-time.Nanosecond), id("a"), i.Token, "")
	check(t, err)
}

func TestOldInvitesArePurged(t *testing.T) {
	a, _ := open(t, t.TempDir())
	old, used := invite(t, a, start), invite(t, a, start)
	_, err := a.Admit(t.Context(), start, id("u"), used, "")
	check(t, err)
	day := start.Add(24 * time.Hour)
	fresh := invite(t, a, day)
	invite(t, a, day.Add(15*time.Minute+1))
	if all, err := a.invites.All(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d invites are left, %v", len(all), err)
	}
	if _, err := a.Admit(t.Context(), day, id("a"), old, ""); !errors.Is(err, ErrInviteUnknown) {
		t.Errorf("purged: %v", err)
	}
	_, err = a.Admit(t.Context(), day, id("a"), fresh, "")
	check(t, err)
	_, err = a.Admit(t.Context(), day, id("u"), used, "")
	check(t, err)
}

func TestFiveWrongSecretsVoidAnInvite(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	wrong := token[:inviteIDLength+1] + strings.Repeat("a", inviteSecretLength)
	try := func(device, token string) error {
		_, err := a.Admit(t.Context(), start, device, token, "")
		return err
	}
	for i := range 4 {
		if err := try(id("x"), wrong); !errors.Is(err, ErrInviteUnknown) {
			t.Errorf("try %d: %v", i, err)
		}
	}
	check(t, try(id("a"), token))
	// A bound invite can be voided for everybody but the device that has it.
	if err := try(id("x"), wrong); !errors.Is(err, ErrInviteUnknown) {
		t.Error(err)
	}
	if err := try(id("b"), token); !errors.Is(err, ErrInviteUnknown) {
		t.Errorf("right, after 5 wrong ones: %v", err)
	}
	check(t, a.redeem(t.Context(), start, id("a"), token))

	token = invite(t, a, start)
	wrong = token[:inviteIDLength+1] + strings.Repeat("a", inviteSecretLength)
	for range 5 {
		_ = try(id("x"), wrong)
	}
	if err := try(id("c"), token); !errors.Is(err, ErrInviteUnknown) {
		t.Errorf("right, after 5 wrong ones: %v", err)
	}
}

func TestWrongSecretsAtOnceAreAllCounted(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	var wg sync.WaitGroup
	for range inviteTries {
		wg.Go(func() {
			_ = a.redeem(t.Context(), start, id("x"), token[:inviteIDLength+1]+strings.Repeat("b", inviteSecretLength))
		})
	}
	wg.Wait()
	if err := a.redeem(t.Context(), start, id("a"), token); !errors.Is(err, ErrInviteUnknown) {
		t.Error(err)
	}
}

func TestTokensThatNobodyMade(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	for _, bad := range []string{"x", ".", token[1:], token + "a", token[:8] + "-" + token[9:], "aaaaaaaa" + token[8:], strings.Repeat("a", 1<<20), "*.>", "\x00"} {
		if _, err := a.Admit(t.Context(), start, id("a"), bad, ""); !errors.Is(err, ErrInviteUnknown) {
			t.Errorf("token %.40q: %v", bad, err)
		}
	}
	_, err := a.Admit(t.Context(), start, id("a"), " "+strings.ToUpper(token)+"\n", "")
	check(t, err)
}

func TestSecretIsNotStored(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	all, err := a.invites.All(t.Context())
	check(t, err)
	if text := fmt.Sprintf("%+v", all); len(all) != 1 || strings.Contains(text, token[inviteIDLength+1:]) {
		t.Errorf("stored: %s", text)
	}
}

func TestIDsThatAreNoneAreRefused(t *testing.T) {
	a, _ := open(t, t.TempDir())
	token := invite(t, a, start)
	for _, bad := range []string{"", "a", id("a")[1:], id("a") + "a", id("A"), id("0"), id(">")} {
		if _, err := a.Admit(t.Context(), start, bad, token, ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("id %q: %v", bad, err)
		}
	}
}

// TestJoinThatIsCutOffIsCompleted stops after each of the three steps, as a crash would.
func TestJoinThatIsCutOffIsCompleted(t *testing.T) {
	for steps, what := range []string{"before", "invite bound", "device enrolled"} {
		a, _ := open(t, t.TempDir())
		token := invite(t, a, start)
		if steps > 0 {
			check(t, a.redeem(t.Context(), start, id("a"), token))
		}
		if steps > 1 {
			check(t, a.devices.Create(t.Context(), id("a"), deviceRecord{Created: start}))
		}
		again := start
		if steps > 0 {
			again = start.Add(time.Hour) // after its expiry: the invite is this device's
		}
		d, err := a.Admit(t.Context(), again, id("a"), token, "attic")
		if err != nil || d.Name != "attic" {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
}
