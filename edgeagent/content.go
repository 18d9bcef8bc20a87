package edgeagent

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"simplebit/edgeagent/storage"
)

// content is a torrent's layout and its files, open.
type content struct {
	tables *tables
	layout *layoutFile
	disk   *storage.Torrent
	log    *slog.Logger
}

// open opens the torrent's content. The errors are errNoLayout, errTables and
// those of the disk.
func (t *torrent) open() (*content, error) {
	layout, err := t.set.tables.open(t.layoutFile())
	if err != nil {
		return nil, err
	}
	err = t.claim(layout.root())
	var disk *storage.Torrent
	if err == nil {
		disk, err = storage.Open(t.storage(layout))
	}
	if err != nil {
		t.set.tables.close(layout)
		return nil, err
	}
	return &content{&t.set.tables, layout, disk, t.log}, nil
}

// claim makes the name the torrent's own, for good.
func (t *torrent) claim(root string) error {
	if err := t.set.roots.claim(root, t.id); err != nil {
		return err
	}
	if t.currentWish().Root != root {
		t.alter(func(a *assignment) { a.Root = root })
	}
	return nil
}

func (c *content) close() {
	if err := c.disk.Close(); err != nil {
		c.log.Warn("files not closed well", "err", err)
	}
	c.tables.close(c.layout)
}

// have is the number of verified bytes, without padding.
func (c *content) have() int64 { return c.layout.have(c.disk.Have()) }

// remove deletes what is stored of the torrent. It is called when run has ended.
// Killed in between, the torrent is still assigned, or it is nothing but
// leftovers.
func (t *torrent) remove(deleteData bool) error {
	if deleteData && t.currentWish().Root != "" { // else nothing there is this torrent's
		if err := t.deleteData(); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(t.dir, assignmentFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.set.roots.release(t.id)
	return os.RemoveAll(t.dir)
}

func (t *torrent) deleteData() error {
	layout, err := openLayout(t.layoutFile()) // one torrent at a time is deleted: no need for the bound
	if errors.Is(err, errNoLayout) {
		return nil
	}
	if err != nil {
		return err
	}
	defer layout.close()
	disk, err := storage.Open(t.storage(layout))
	if err != nil {
		return err
	}
	return disk.Delete()
}

func (t *torrent) storage(l *layoutFile) storage.Config {
	return storage.Config{
		Dir: t.set.dir, Journal: filepath.Join(t.dir, "journal"),
		Layout: l.storage(), Pool: t.set.pool, Log: t.log,
	}
}

func (t *torrent) layoutFile() string { return filepath.Join(t.dir, "layout") }
