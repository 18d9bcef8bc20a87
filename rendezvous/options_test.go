package rendezvous

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"simplebit/rendezvous/apiclient"
)

// albumFile is a .torrent file of two files of one piece each, 1.txt and 2.txt.
func albumFile(announce string, content [2]string) []byte {
	one, two := sha1.Sum([]byte(content[0])), sha1.Sum([]byte(content[1]))
	return fmt.Appendf(nil, "d8:announce%d:%s4:infod5:filesld6:lengthi%de4:pathl5:1.txteed6:lengthi%de4:pathl5:2.txteee4:name5:album12:piece lengthi16384e6:pieces40:%s%see",
		len(announce), announce, len(content[0]), len(content[1]), one, two)
}

func TestADeviceFinishesWithTheFilesThatWereChosenAndGoesOn(t *testing.T) {
	var told trackerLog
	web := httptest.NewServer(&told)
	defer web.Close()
	cfg := local(t)
	cfg.AllowPrivate = true
	s := serve(t, cfg)
	d := s.device("attic")
	ctx := context.Background()
	content := [2]string{strings.Repeat("1", 16384), strings.Repeat("2", 16384)}
	folder := filepath.Join(d.cfg.Dir, "album")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "2.txt"), []byte(content[1]), 0o644)); err != nil {
		t.Fatal(err)
	}
	j, err := s.api().Add(ctx, apiclient.NewJob{
		Torrent: albumFile(web.URL+"/announce", content), Target: "device:attic",
		Options: &apiclient.OptionsChange{SeedTime: new(int64(1)), Up: new(int64(1 << 20))},
		Choices: []apiclient.Choice{{Priority: apiclient.PrioritySkip, Patterns: []string{"1.*"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (apiclient.Options{Up: 1 << 20, SeedTime: 1}); j.Options != want {
		t.Errorf("the options are %+v, want %+v", j.Options, want)
	}
	reaches := func(state apiclient.State) apiclient.Job {
		t.Helper()
		eventually(t, string(state), func() bool {
			j, err = s.api().Job(ctx, j.ID)
			return err == nil && j.State == state
		})
		return j
	}
	if j = reaches(apiclient.StateFinished); j.Selected != 16384 || j.SelectedHave != 16384 || j.Message != "finished: seeded for 1s" {
		t.Errorf("finished, the job is %+v", j)
	}
	eventually(t, "the tracker is told of the end", func() bool { return told.seen() == "started stopped" })

	if j, err = s.api().SetOptions(ctx, j.ID, apiclient.OptionsChange{SeedTime: new(int64(0))}); err != nil || j.Options.Up != 1<<20 {
		t.Fatalf("changed: %+v, %v", j, err)
	}
	reaches(apiclient.StateSeeding)
	eventually(t, "the tracker is told of a new start", func() bool { return told.seen() == "started stopped started" })
	if j, err = s.api().ChooseFiles(ctx, j.ID, []apiclient.Choice{{Priority: apiclient.PriorityHigh, Files: []int{0}}}); err != nil {
		t.Fatal(err)
	}
	if j = reaches(apiclient.StateDownloading); j.Selected != 0 || j.Have != 16384 {
		t.Errorf("with both files wanted the job is %+v", j)
	}
	want := []apiclient.File{{Index: 0, Path: "album/1.txt", Size: 16384, Priority: "high"}, {Index: 1, Path: "album/2.txt", Size: 16384, Priority: "normal"}}
	if files, err := s.api().Files(ctx, j.ID); err != nil || !slices.Equal(files, want) {
		t.Errorf("files %+v, %v", files, err)
	}
}

func TestOptionsAndChoicesThatCannotBeAreRefused(t *testing.T) {
	s := serve(t, local(t))
	s.device("attic")
	ctx, c := context.Background(), s.api()
	j, err := c.Add(ctx, apiclient.NewJob{Magnet: "magnet:?xt=urn:btih:" + strings.Repeat("ab", 20), Target: "device:attic",
		Choices: []apiclient.Choice{{Priority: "skip", Patterns: []string{"*.nfo"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Choices) != 1 || j.Choices[0].Priority != "skip" || !slices.Equal(j.Choices[0].Patterns, []string{"*.nfo"}) {
		t.Errorf("the choices that wait are %+v", j.Choices)
	}
	set := func(change apiclient.OptionsChange) error { _, err := c.SetOptions(ctx, j.ID, change); return err }
	for name, row := range map[string]struct {
		err    error
		status int
		line   string
	}{
		"slow":    {set(apiclient.OptionsChange{Down: new(int64(1000))}), 422, "the limit down is 1000 bytes per second: want 1024 to 1099511627776, or 0 for none"},
		"endless": {set(apiclient.OptionsChange{SeedTime: new(int64(1 << 62))}), 422, "the time to seed 87600h0m1s: want up to 87600h0m0s, or 0 for no such end"},
		"little":  {set(apiclient.OptionsChange{Ratio: new(0.0001)}), 422, "the ratio 0.0001: want 0.001 to 1000000, or 0 for no such end"},
		"files": {func() error { _, err := c.Files(ctx, j.ID); return err }(), 409,
			"the torrent's files are not known yet: its description is still being fetched"},
		"index": {func() error {
			_, err := c.ChooseFiles(ctx, j.ID, []apiclient.Choice{{Priority: "low", Files: []int{1}}})
			return err
		}(), 409, "the torrent's files are not known yet: its description is still being fetched"},
	} {
		var refusal *apiclient.Error
		if !errors.As(row.err, &refusal) || refusal.Status != row.status || refusal.Message != row.line {
			t.Errorf("%s: %v", name, row.err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
