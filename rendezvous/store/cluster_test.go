package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestUserWithTheDocumentedPermissionsIsEnough holds docs/operations.md to what it says.
func TestUserWithTheDocumentedPermissionsIsEnough(t *testing.T) {
	t.Parallel()
	n := startNATS(t, `authorization { users: [ { user: u, password: p, permissions: {
		publish: ["$JS.API.>", "$JS.ACK.>", "$KV.>", "$O.>"], subscribe: "_INBOX.>" } } ] }`)
	n.url = "nats://u:p@" + n.addr
	s := n.open("")
	fill(t, s)
	first := backup(t, s)
	check(t, table(t, s, "jobs").Delete(t.Context(), "a.b"))
	check(t, blobs(t, s, "infos").Delete(t.Context(), "large"))
	s.Close()
	other := startNATS(t, "")
	_, err := Restore(t.Context(), Config{URL: other.url}, bytes.NewReader(first))
	check(t, err)
}

func TestReplicasSurviveTheLossOfAServer(t *testing.T) {
	t.Parallel()
	var routes, urls []string
	for range 3 {
		routes = append(routes, ownAddr())
	}
	var servers []*natsServer
	for i, route := range routes {
		n := startNATS(t, fmt.Sprintf("server_name: s%d\ncluster { name: c, listen: %q, routes: [nats://%s] }\n", i, route, strings.Join(routes, ", nats://")))
		servers, urls = append(servers, n), append(urls, n.url)
	}
	config := Config{URL: strings.Join(urls, ",")}
	var s *Store
	repeat(t, func(ctx context.Context) (err error) { // they have to find and elect each other first
		s, err = Open(ctx, config)
		return err
	})
	check(t, table(t, s, "jobs").Put(t.Context(), "k", record{N: 1}))
	check(t, blobs(t, s, "infos").Put(t.Context(), "b", content(chunkSize+1, 1)))
	s.Close()

	config.Replicas = 3
	s, err := Open(context.Background(), config)
	check(t, err)
	t.Cleanup(s.Close)
	tb, bl := table(t, s, "jobs"), blobs(t, s, "infos") // spread now
	for _, stream := range []string{"KV_simplebit-jobs", "OBJ_simplebit-infos", "KV_simplebit-lease"} {
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			st, err := s.js.Stream(t.Context(), stream)
			check(t, err)
			info := st.CachedInfo()
			current := 1
			for _, r := range info.Cluster.Replicas {
				if r.Current {
					current++
				}
			}
			if info.Config.Replicas == 3 && current == 3 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d replicas, %d of them whole", stream, info.Config.Replicas, current)
			}
		}
	}
	servers[0].kill()
	// The others elect a new leader of each stream, and who asked the old one repeats it.
	repeat(t, func(ctx context.Context) error { return tb.Put(ctx, "k", record{N: 2}) })
	repeat(t, func(ctx context.Context) error {
		got, err := bl.Get(ctx, "b")
		if err == nil && !bytes.Equal(got, content(chunkSize+1, 1)) {
			t.Errorf("%d bytes", len(got))
		}
		return err
	})
}

// repeat does something until it works, for three seconds at first and for longer each time.
func repeat(t *testing.T, do func(ctx context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for try := time.Duration(1); ; try++ {
		ctx, end := context.WithTimeout(t.Context(), try*3*time.Second)
		err := do(ctx)
		end()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
