package edgeagent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"simplebit/edgeagent/storage"
	"simplebit/wire/control"
)

// content is a torrent's layout and its files, open.
type content struct {
	tables   *tables
	layout   *layoutFile
	disk     *storage.Torrent
	selected *selection
	log      *slog.Logger
}

// open opens the torrent's content with a choice of its files. The errors are
// errNoLayout, errTables and those of the disk.
func (t *torrent) open(files []control.FileRun) (*content, error) {
	layout, err := t.set.tables.open(t.layoutFile())
	if err != nil {
		return nil, err
	}
	err = t.claim(layout.root())
	var disk *storage.Torrent
	selected := layout.selects(files)
	if err == nil {
		disk, err = storage.Open(t.storage(layout, selected))
	}
	if err != nil {
		t.set.tables.close(layout)
		return nil, err
	}
	return &content{&t.set.tables, layout, disk, selected, t.log}, nil
}

// choose changes which files are wanted.
func (c *content) choose(ctx context.Context, files []control.FileRun) (*selection, error) {
	s := c.layout.selects(files)
	return s, c.disk.Select(ctx, s.skip)
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

// figures counts what is there. The caller guards c.selected.
func (c *content) figures() figures { return c.layout.figures(c.disk.Have(), c.selected) }

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
	disk, err := storage.Open(t.storage(layout, layout.selects(t.currentWish().Options.Files)))
	if err != nil {
		return err
	}
	return disk.Delete()
}

func (t *torrent) storage(l *layoutFile, s *selection) storage.Config {
	return storage.Config{
		Dir: t.set.dir, Journal: filepath.Join(t.dir, "journal"),
		Layout: l.storage(), Skip: s.skip, Pool: t.set.pool, Log: t.log,
	}
}

func (t *torrent) layoutFile() string { return filepath.Join(t.dir, "layout") }
