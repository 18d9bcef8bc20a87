package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"simplebit/rendezvous/store"
)

// BackupInfo is what a backup has in it.
type BackupInfo = store.Summary

// backupPath is where the administration socket serves a backup.
const backupPath = "/backup"

// storeConfig is where this surrogate's state is.
func (c Config) storeConfig() store.Config {
	return store.Config{
		Dir: filepath.Join(c.Data, "store"), URL: c.NATS, Credentials: c.NATSCredentials, Replicas: c.NATSReplicas, Log: c.Log,
	}
}

// adminHandler serves a backup of the store beside what next serves, to whoever may open the administration socket.
func adminHandler(db *store.Store, next http.Handler, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("GET "+backupPath, func(w http.ResponseWriter, r *http.Request) {
		// A large store takes longer than other answers; the reader is this machine's administrator.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		w.Header().Set("Content-Type", "application/jsonl")
		sent := &countingWriter{w: w}
		switch _, err := db.Backup(r.Context(), sent); {
		case err != nil && sent.n == 0:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case err != nil:
			log.Error("a backup broke off", "error", err)
			panic(http.ErrAbortHandler) // the reader must see that it is not whole
		}
	})
	return mux
}

// countingWriter counts what went through it.
type countingWriter struct {
	w io.Writer
	n int64
}

// Write writes and counts.
func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Backup writes all durable state to a file that only its owner may read, since it holds private keys. An older file is
// replaced when the new one is whole and on the disk; until then it is FILE.new. The state is that of cfg.NATS, or else of
// cfg.Data: of the surrogate that runs there, or of its store if none does.
func Backup(ctx context.Context, cfg Config, file string) (_ BackupInfo, err error) {
	cfg = cfg.withDefaults()
	part := file + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(part)
		}
	}()
	if err := writeBackup(ctx, cfg, f); err != nil {
		return BackupInfo{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	info, err := store.Verify(f)
	if err != nil {
		return info, fmt.Errorf("the backup broke off: %w: see the surrogate's log", err)
	}
	if err := errors.Join(f.Sync(), os.Rename(part, file), syncFolder(filepath.Dir(file))); err != nil {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	return info, nil
}

func writeBackup(ctx context.Context, cfg Config, w io.Writer) error {
	config := cfg.storeConfig()
	if cfg.NATS != "" {
		config.Dir = "" // its lock is a surrogate's
	} else {
		running, err := fetchBackup(ctx, AdminSocket(cfg.Data), w)
		if running || err != nil {
			return err
		}
		if !store.Exists(config.Dir) {
			return fmt.Errorf("there is no store in the data folder %s, and no surrogate runs with it: pass the right --data, or --nats URL", cfg.Data)
		}
	}
	db, err := store.Open(ctx, config)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Backup(ctx, w)
	return err
}

// fetchBackup asks the surrogate behind the socket, and reports whether one runs there.
func fetchBackup(ctx context.Context, socket string, w io.Writer) (running bool, err error) {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+backupPath, nil)
	if err != nil {
		return false, err
	}
	res, err := t.RoundTrip(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("asking the surrogate for a backup: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return true, fmt.Errorf("the surrogate makes no backup: %s", strings.TrimSpace(string(reason)))
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		return true, fmt.Errorf("the backup broke off: %w", err)
	}
	return true, nil
}

// Restore puts a backup into the store of cfg, which must be empty: that of cfg.NATS, or else of cfg.Data. No surrogate may
// run with it. A file that is damaged or truncated is refused before anything is written.
func Restore(ctx context.Context, cfg Config, file string) (BackupInfo, error) {
	cfg = cfg.withDefaults()
	f, err := os.Open(file)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	config := cfg.storeConfig()
	if cfg.NATS != "" {
		config.Dir = ""
	}
	info, err := store.Restore(ctx, config, f)
	if err != nil {
		return info, fmt.Errorf("%s: %w", file, err)
	}
	return info, nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
