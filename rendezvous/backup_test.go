package rendezvous

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/store"
	"simplebit/wire/control"
)

// natsServer starts an external NATS server and returns its address.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "external", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not get ready")
	}
	return s.ClientURL()
}

// known is what a surrogate knows, as its users see it.
func (s *serving) known() string {
	s.t.Helper()
	ctx := context.Background()
	jobs, err := s.api().Jobs(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	devices, err := s.api().Devices(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []any // without what goes on at the moment
	for _, j := range jobs {
		all = append(all, []any{j.ID, j.InfoHash, j.Name, j.Target, j.Size, j.Added, j.Options, j.Private})
	}
	for _, d := range devices {
		all = append(all, []any{d.ID, d.Name, d.Created, d.Revoked})
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		s.t.Fatal(err)
	}
	invite, err := control.ParseInvite(s.invite())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b) + "\npin " + invite.Pin.String()
}

func TestASurrogateMovesToAnExternalNATSServer(t *testing.T) {
	var told trackerLog
	web := httptest.NewServer(&told)
	defer web.Close()
	defer http.DefaultClient.CloseIdleConnections()
	cfg := local(t)
	cfg.AllowPrivate, cfg.Control = true, ownAddr()
	s := serve(t, cfg)
	s.device("attic")
	ctx := context.Background()
	if _, err := s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile(web.URL + "/announce"), Target: "device:attic"}); err != nil {
		t.Fatal(err)
	}
	want := s.known()
	file := filepath.Join(t.TempDir(), "backup.jsonl")
	running, err := Backup(ctx, Config{Data: cfg.Data}, file) // by the socket
	if err != nil || running.Records < 6 || running.Blobs != 1 {
		t.Fatalf("%+v, %v", running, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(file + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	stopped, err := Backup(ctx, Config{Data: cfg.Data}, file) // of the folder; in the older one's place
	if err != nil || stopped.Blobs != 1 || stopped.Records < running.Records {
		t.Fatalf("%+v, %v", stopped, err)
	}

	url := natsServer(t)
	if _, err := Restore(ctx, Config{NATS: url}, file); err != nil {
		t.Fatal(err)
	}
	// The old folder's own store is not looked at any more; a new folder would do as well.
	cfg.NATS = url
	s = serve(t, cfg)
	if got := s.known(); got != want {
		t.Errorf("after the move the surrogate knows\n%s\nwant\n%s", got, want)
	}
	eventually(t, "the device comes to the surrogate with the restored keys", func() bool {
		devices, err := s.api().Devices(ctx)
		return err == nil && len(devices) == 1 && devices[0].Online
	})

	// A second surrogate on the server is refused, and a backup while it is used goes through the surrogate.
	other := local(t)
	other.NATS = url
	if err := Serve(ctx, other, nil); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), cfg.Data) {
		t.Errorf("a second surrogate: %v", err)
	}
	if _, err := Backup(ctx, Config{NATS: url}, file); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "--data") {
		t.Error(err)
	}
	if got, err := Backup(ctx, Config{Data: cfg.Data}, file); err != nil || got.Blobs != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	// And back into a folder.
	if _, err := Backup(ctx, Config{NATS: url}, file); err != nil {
		t.Fatal(err)
	}
	back := cfg
	back.NATS, back.Data = "", tempDir(t)
	if _, err := Restore(ctx, Config{Data: back.Data}, file); err != nil {
		t.Fatal(err)
	}
	if got := serve(t, back).known(); got != want {
		t.Errorf("after the way back the surrogate knows\n%s\nwant\n%s", got, want)
	}
}

func TestABackupThatFailsLeavesTheOldOne(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Backup(ctx, Config{Data: tempDir(t)}, file)
	if err == nil || !strings.Contains(err.Error(), "there is no store in the data folder") {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(file + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Backup(ctx, Config{Data: tempDir(t)}, "/does/not/exist/backup"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func TestABackupOfAClosedStoreSaysWhy(t *testing.T) {
	db, err := store.Open(context.Background(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := db.OpenBlobs(t.Context(), "infos")
	if err == nil {
		err = blobs.Put(t.Context(), "a", make([]byte, 1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(adminHandler(db, http.NotFoundHandler(), Config{}.withDefaults().Log))
	defer gone.Close()
	db.Close()
	reply, err := http.Get(gone.URL + backupPath)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer reply.Body.Close()
	var b bytes.Buffer
	b.ReadFrom(reply.Body)
	if reply.StatusCode != http.StatusInternalServerError || !strings.Contains(b.String(), "store closed") {
		t.Errorf("%s: %s", reply.Status, &b)
	}
}

func TestABackupThatBreaksOffIsNotKept(t *testing.T) {
	data := tempDir(t)
	ln, err := net.Listen("unix", AdminSocket(data))
	if err != nil {
		t.Fatal(err)
	}
	surrogate := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("{\"simplebit\":\"backup\",\"version\":1,\"created\":\"2026-11-22T12:00:00Z\"}\n"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})}
	go surrogate.Serve(ln)
	defer surrogate.Close()
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(t.Context(), Config{Data: data}, file); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestARestoreIsIntoAnEmptyPlaceOnly(t *testing.T) {
	ctx := context.Background()
	cfg := local(t)
	s := serve(t, cfg)
	file := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(ctx, Config{Data: cfg.Data}, file); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(ctx, Config{Data: cfg.Data}, file); !errors.Is(err, store.ErrInUse) {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(ctx, Config{Data: cfg.Data}, file); !errors.Is(err, store.ErrNotEmpty) || !strings.Contains(err.Error(), cfg.Data) {
		t.Error(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(tempDir(t), "new")
	if _, err := Restore(ctx, Config{Data: empty}, file); !errors.Is(err, store.ErrBadBackup) || !strings.Contains(err.Error(), file) {
		t.Error(err)
	}
	if _, err := os.Stat(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written")
	}
	if _, err := Restore(ctx, Config{Data: empty}, file+".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestASurrogateWhoseStoreIsTakenOverEnds(t *testing.T) {
	cfg := local(t)
	cfg.NATS = natsServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan Info, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, cfg, func(i Info) { ready <- i }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the surrogate does not get ready")
	}
	// What another surrogate writes that waited for this one to fall silent.
	conn, err := nats.Connect(cfg.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := js.KeyValue(ctx, "simplebit-lease")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lease.PutString(ctx, "holder", `{"folder":"f","instance":"i","holder":"another one","beat":1}`); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, store.ErrLost) || !strings.Contains(err.Error(), "another one") || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}
