package account

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	minAdminToken = 32   // characters: enough for 128 bits in hex
	maxAdminToken = 1024 // characters
)

// AdminToken returns the administrator's token in the file at path. When there is no such file it makes one with a random 256
// bits and mode 0600; of several who do so at once all get the same token. A file is refused, with an error that says what to
// do, when others can read or change it or its group can change it (a group that may read it can be meant), or when it holds
// anything but one word of 32 to 1024 characters.
func AdminToken(path string) (string, error) {
	token, err := readAdminToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := createAdminToken(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make the administrator's token %s: %w", path, err)
	}
	return readAdminToken(path)
}

// CheckToken tells whether the token given is the administrator's. The time it takes depends on neither.
func CheckToken(admin, given string) bool {
	a, b := sha256.Sum256([]byte(admin)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && admin != ""
}

func readAdminToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the administrator's token: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	fi, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("cannot read the administrator's token: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("the administrator's token %s is not a file: remove it and start again", path)
	}
	if mode := fi.Mode().Perm(); mode&0o027 != 0 {
		return "", fmt.Errorf("the administrator's token %s has mode %04o, so others know it: remove it to get a new one, or chmod 600 if you are alone here", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAdminToken+2))
	if err != nil {
		return "", fmt.Errorf("cannot read the administrator's token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case token == "":
		return "", fmt.Errorf("the administrator's token %s is empty: remove it to get a new one", path)
	case len(token) < minAdminToken || len(token) > maxAdminToken || len(strings.Fields(token)) != 1:
		return "", fmt.Errorf("the administrator's token %s is not one word of %d to %d characters: remove it to get a new one", path, minAdminToken, maxAdminToken)
	}
	return token, nil
}

// createAdminToken makes the file appear with all that is in it, or fails with fs.ErrExist.
func createAdminToken(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".token-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the link keeps the file
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	_, err = f.WriteString(base64.RawURLEncoding.EncodeToString(secret[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
