package edgeagent

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"simplebit/wire/control"
)

// ErrNotJoined means that the state folder knows no surrogate.
var ErrNotJoined = errors.New("this agent has not joined a surrogate: run `edgeagent join INVITE` with an invite from `rendezvous invite`")

type infoHash = [20]byte

// newSuffix marks files that are being written; after a kill they are leftovers.
const newSuffix = ".new"

const assignmentFile = "assignment.json"

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

	TCP     uint16 `json:",omitzero"` // port of the same host for control over TCP; 0: none
	Blocked bool   `json:",omitzero"` // UDP did not work the last time
}

// welcomed is the surrogate after a welcome. What one said by TCP, which may be forwarded to it, need not know of the port.
func (s surrogate) welcomed(c *connection) surrogate {
	s.Name, s.Blocked = c.welcome.Name, c.byTCP()
	if port := c.welcome.TCP; port != 0 || !s.Blocked {
		s.TCP = port
	}
	return s
}

// haste is how soon TCP is tried.
func (s surrogate) haste() haste {
	if s.Blocked {
		return doubtful
	}
	return hopeful
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
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("state folder %s is in use by another agent: stop it first", dir)
		}
		return nil, fmt.Errorf("state folder %s cannot be locked: %w: choose another with --state", dir, err)
	}
	s := &state{dir: dir, lock: lock}
	if err := s.tidy(); err != nil {
		s.close()
		return nil, fmt.Errorf("state folder: %w: choose another with --state", err)
	}
	return s, nil
}

// tidy deletes what a kill left behind: files half written, and torrents half
// made or half removed, which have no assignment.
func (s *state) tidy() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), newSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			return err
		}
	}
	ids, err := s.torrents()
	if err != nil {
		return err
	}
	for _, id := range ids {
		dir := s.torrentDir(id)
		if _, err := os.Lstat(filepath.Join(dir, assignmentFile)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// close lets others have the folder at once: a program that is just being started holds what is open here a moment longer.
func (s *state) close() {
	unix.Flock(int(s.lock.Fd()), unix.LOCK_UN)
	s.lock.Close()
}

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
	if err == nil {
		_, err = control.ParsePin(home.Pin)
	}
	if err == nil {
		_, _, err = net.SplitHostPort(home.Addr)
	}
	if err != nil {
		return home, fmt.Errorf("surrogate.json in %s: %w: join again", s.dir, err)
	}
	return home, nil
}

func (s *state) saveSurrogate(home surrogate) error {
	return writeJSON(filepath.Join(s.dir, "surrogate.json"), home)
}

// torrents lists the torrents that have a folder.
func (s *state) torrents() ([]infoHash, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "torrents"))
	if err != nil {
		return nil, err
	}
	var ids []infoHash
	for _, e := range entries {
		var id infoHash
		if len(e.Name()) != hex.EncodedLen(len(id)) {
			continue
		}
		if _, err := hex.Decode(id[:], []byte(e.Name())); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// assignments reads what is held. An assignment that cannot be read is one that
// was never told, and paused; the error then says why. Without any map the
// folder cannot be read.
func (s *state) assignments() (map[infoHash]assignment, error) {
	ids, err := s.torrents()
	if err != nil {
		return nil, err
	}
	held := map[infoHash]assignment{}
	var bad []error
	for _, id := range ids {
		var a assignment
		b, err := os.ReadFile(filepath.Join(s.torrentDir(id), assignmentFile))
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("assignment of %x: %w", id, err))
			a = assignment{Paused: true}
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
	return writeJSON(filepath.Join(dir, assignmentFile), a)
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
	f, err := os.OpenFile(name+newSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
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
