package edgeagent

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"simplebit/wire/control"
)

// ErrNotJoined means that the state folder knows no surrogate.
var ErrNotJoined = errors.New("this agent has not joined a surrogate: run `edgeagent join INVITE` with an invite from `rendezvous invite`")

type infoHash = [20]byte

// state is the state folder, locked against a second agent.
type state struct {
	dir  string
	lock *os.File
}

// surrogate is where the agent belongs.
type surrogate struct {
	Addr string // host:port
	Pin  string // of the deployment key
	Name string // this device's name there
}

// assignment is the durable wish for one torrent.
type assignment struct {
	Generation uint64
	Paused     bool
	Verify     uint64 // full re-hashes asked for
	Verified   uint64 // and done
	Downloaded int64  // payload bytes over all time
	Uploaded   int64
}

// sameWork reports whether both ask for the same to be done.
func (a assignment) sameWork(b assignment) bool {
	return a.Paused == b.Paused && a.Verify == b.Verify
}

func openState(dir string) (*state, error) {
	if err := os.MkdirAll(filepath.Join(dir, "torrents"), 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w: choose another with --state", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w: choose another with --state", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("state folder %s is in use by another agent: stop it first", dir)
	}
	return &state{dir: dir, lock: lock}, nil
}

func (s *state) close() { s.lock.Close() }

func (s *state) statusSocket() string { return filepath.Join(s.dir, "status.sock") }

func (s *state) torrentDir(id infoHash) string {
	return filepath.Join(s.dir, "torrents", hex.EncodeToString(id[:]))
}

// key reads the device's key, made at the first call.
func (s *state) key() (ed25519.PrivateKey, error) {
	name := filepath.Join(s.dir, "key.pem")
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s.newKey()
	}
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	key, err := control.ParseKey(b)
	if err != nil {
		return nil, fmt.Errorf("device key %s: %w: restore it, or delete it and join again", name, err)
	}
	return key, nil
}

// newKey replaces the device's key.
func (s *state) newKey() (ed25519.PrivateKey, error) {
	key, err := control.NewKey()
	if err != nil {
		return nil, err
	}
	b, err := control.MarshalKey(key)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(s.dir, "key.pem"), b); err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	return key, nil
}

func (s *state) loadSurrogate() (surrogate, error) {
	var home surrogate
	b, err := os.ReadFile(filepath.Join(s.dir, "surrogate.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return home, ErrNotJoined
	}
	if err == nil {
		err = json.Unmarshal(b, &home)
	}
	if err != nil {
		return home, fmt.Errorf("surrogate.json in %s: %w: join again", s.dir, err)
	}
	return home, nil
}

func (s *state) saveSurrogate(home surrogate) error {
	return writeJSON(filepath.Join(s.dir, "surrogate.json"), home)
}

// assignments lists the torrents held. What cannot be read is returned as an
// error with the rest.
func (s *state) assignments() (map[infoHash]assignment, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "torrents"))
	if err != nil {
		return nil, err
	}
	held := map[infoHash]assignment{}
	var bad []error
	for _, e := range entries {
		var id infoHash
		if n, err := hex.Decode(id[:], []byte(e.Name())[:min(len(e.Name()), 40)]); err != nil || n != len(id) || len(e.Name()) != 40 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.torrentDir(id), "assignment.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // killed between making the folder and storing the assignment
		}
		var a assignment
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("assignment of %s: %w", e.Name(), err))
			continue
		}
		held[id] = a
	}
	return held, errors.Join(bad...)
}

func (s *state) saveAssignment(id infoHash, a assignment) error {
	dir := s.torrentDir(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "assignment.json"), a)
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(name, b)
}

// writeFile replaces a file so that a crash leaves the old or the new one.
func writeFile(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return install(f, name, err)
}

// install closes a written file and gives it its name, or removes it when
// writing failed. The rename is made durable too.
func install(f *os.File, name string, err error) error {
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
