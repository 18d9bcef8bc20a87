package account

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestAdminTokenIsMadeOnceAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "admin-token")
	tokens := make([]string, 16)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			var err error
			if tokens[i], err = AdminToken(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] || len(token) != 43 { // 256 bits of base64
			t.Errorf("%q and %q", tokens[0], token)
		}
	}
	fi, err := os.Stat(path)
	check(t, err)
	if fi.Mode() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if other, err := AdminToken(filepath.Join(t.TempDir(), "t")); err != nil || other == tokens[0] {
		t.Errorf("the second token is the first: %v", err)
	}
}

func TestUnsafeAdminTokensAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	good := strings.Repeat("x", 32)
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{good, 0o644, "has mode 0644, so others know it"},
		{good, 0o604, "has mode 0604, so others know it"},
		{good, 0o602, "has mode 0602"},
		{good, 0o660, "has mode 0660"},
		{"", 0o600, "is empty: remove it to get a new one"},
		{" \n", 0o600, "is empty"},
		{"short", 0o600, "is not one word of 32 to 1024 characters"},
		{good + " " + good, 0o600, "is not one word"},
		{strings.Repeat("x", 1025), 0o600, "is not one word"},
		{good + "\n", 0o600, ""},
		{good, 0o640, ""}, // a group of administrators
	} {
		check(t, os.WriteFile(path, []byte(c.text), 0o600))
		check(t, os.Chmod(path, c.mode))
		token, err := AdminToken(path)
		if c.want == "" && (err != nil || token != good) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%.40q with mode %o: %q, %v, want %q", c.text, c.mode, token, err, c.want)
		}
	}
	if _, err := AdminToken(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := AdminToken(filepath.Join(path, "token")); err == nil {
		t.Error("a token inside a file")
	}
}

func TestOnlyTheTokenIsTheToken(t *testing.T) {
	const admin = "0123456789abcdef0123456789abcdef"
	for given, want := range map[string]bool{admin: true, "": false, admin[1:]: false, admin + "0": false, strings.ToUpper(admin): false} {
		if CheckToken(admin, given) != want {
			t.Errorf("%q: %v", given, !want)
		}
	}
	if CheckToken("", "") {
		t.Error("no token is a token")
	}
}
