package store

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// sweep frees the content of blobs that no description names: that of writes and deletions which were cut off. It runs before
// anybody has the store, so nothing is in the middle of being written.
func (s *Store) sweep(ctx context.Context) error {
	names := s.js.StreamNames(ctx)
	var buckets []string
	for name := range names.Name() {
		if bucket, ok := strings.CutPrefix(name, "OBJ_"); ok {
			buckets = append(buckets, bucket)
		}
	}
	if names.Err() != nil {
		return s.explain(ctx, "listing blobs", names.Err())
	}
	for _, bucket := range buckets {
		stream, err := s.js.Stream(ctx, "OBJ_"+bucket)
		if err != nil {
			return s.explain(ctx, "opening blobs "+bucket, err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter("$O."+bucket+".C.>"))
		if err != nil {
			return s.explain(ctx, "listing blobs "+bucket, err)
		}
		live := make(map[string]string) // subject of the chunks by subject of the description
		err = eachMessage(ctx, stream, "$O."+bucket+".M.>", func(m *jetstream.RawStreamMsg) error {
			var info jetstream.ObjectInfo
			if json.Unmarshal(m.Data, &info) == nil && !info.Deleted {
				live[m.Subject] = "$O." + bucket + ".C." + info.NUID
			} else {
				delete(live, m.Subject)
			}
			return nil
		})
		if err != nil {
			return s.explain(ctx, "reading blobs "+bucket, err)
		}
		used := make(map[string]bool, len(live))
		for _, chunks := range live {
			used[chunks] = true
		}
		for chunks := range info.State.Subjects {
			if used[chunks] {
				continue
			}
			s.log.Info("removing blob content whose writing was cut off", "bucket", bucket)
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(chunks)); err != nil {
				return s.explain(ctx, "sweeping blobs "+bucket, err)
			}
		}
	}
	return nil
}
