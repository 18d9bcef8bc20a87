package edgeagent

import (
	"fmt"
	"strings"
	"sync"
)

// roots knows which name at the top of the download folder belongs to which
// torrent: two torrents of one name would write over each other's files.
type roots struct {
	mu    sync.Mutex
	owner map[string]infoHash
}

// claim takes a name for a torrent until release; again is no error. File systems
// may not tell case apart, and an unfinished file has the suffix .part.
func (r *roots) claim(name string, id infoHash) error {
	key := strings.TrimSuffix(strings.ToLower(name), ".part")
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, taken := r.owner[key]; taken && owner != id {
		return fmt.Errorf("another torrent on this device is named %q too (%x): remove that one, then resume", name, owner)
	}
	if r.owner == nil {
		r.owner = map[string]infoHash{}
	}
	r.owner[key] = id
	return nil
}

// release gives up the torrent's name.
func (r *roots) release(id infoHash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, owner := range r.owner {
		if owner == id {
			delete(r.owner, key)
		}
	}
}
