package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

// maxToken bounds a token in bytes.
const maxToken = 4096

// login is what "simplebit login" stores.
type login struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// loginPath is the file of the stored login.
func (p *program) loginPath() (string, error) {
	dir, err := p.configDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder for settings: %w", err)
	}
	return filepath.Join(dir, "simplebit", "login.json"), nil
}

// storedLogin returns the zero login when there is none.
func (p *program) storedLogin() (login, error) {
	path, err := p.loginPath()
	if err != nil {
		return login{}, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return login{}, nil
	}
	var stored login
	if err == nil {
		err = json.Unmarshal(b, &stored)
	}
	if err != nil {
		return login{}, fmt.Errorf("cannot read the stored login %s: %w; run `simplebit login URL` again", path, err)
	}
	return stored, nil
}

// storeLogin replaces the stored login, readable by its owner alone.
func (p *program) storeLogin(l login) (path string, err error) {
	path, err = p.loginPath()
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	// CreateTemp makes files of mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), "login-*")
	if err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	return path, nil
}

// client returns a client for the surrogate that the command line, the
// environment or the stored login names, in that order.
func (p *program) client(c *cli.Context) (*apiclient.Client, error) {
	stored, err := p.storedLogin()
	if err != nil {
		return nil, err
	}
	address := option(c, "url")
	if address == "" {
		address = p.getenv("SIMPLEBIT_URL")
	}
	if address == "" {
		address = stored.URL
	}
	token, err := p.givenToken(c)
	if err != nil {
		return nil, err
	}
	// The stored token is for the surrogate it was stored with and for no other.
	if token == "" && stored.URL != "" && sameURL(address, stored.URL) {
		token = stored.Token
	}
	return newClient(address, token), nil
}

func newClient(address, token string) *apiclient.Client {
	return apiclient.New(apiclient.Config{URL: address, Token: token, UserAgent: "simplebit/" + version})
}

func sameURL(a, b string) bool {
	left, err := apiclient.ParseURL(a)
	if err != nil {
		return false
	}
	right, err := apiclient.ParseURL(b)
	return err == nil && left.String() == right.String()
}

// givenToken returns the token of the command line or the environment, or "".
func (p *program) givenToken(c *cli.Context) (string, error) {
	token, file := option(c, "token"), option(c, "token-file")
	if token != "" && file != "" {
		return "", usagef("give --token or --token-file, not both")
	}
	if token == "" && file == "" {
		token, file = p.getenv("SIMPLEBIT_TOKEN"), p.getenv("SIMPLEBIT_TOKEN_FILE")
	}
	if token != "" {
		return checkToken(token, "the token")
	}
	switch file {
	case "":
		return "", nil
	case "-":
		return readToken(p.stdin, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	defer f.Close()
	return readToken(f, file)
}

// readToken returns the first line of r.
func readToken(r io.Reader, name string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxToken)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	return checkToken(strings.TrimSpace(line), "the first line of "+name)
}

// checkToken refuses what cannot be sent in a header.
func checkToken(token, origin string) (string, error) {
	if token == "" {
		return "", fmt.Errorf("there is no token in %s", origin)
	}
	for _, b := range []byte(token) {
		if b <= ' ' || b >= 0x7f {
			return "", fmt.Errorf("%s is no token: it holds characters that tokens do not have", origin)
		}
	}
	return token, nil
}
