package storage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// quickExit spares a program built with the race detector its second of waiting for late reports.
const quickExit = "GORACE=atexit_sleep_ms=0"

// killEnv tells the test binary that it is the process to be killed, and in which folder.
const killEnv = "STORAGE_TEST_DOWNLOAD_IN"

func killedContent() *content {
	var files []File
	for i := range 60 {
		files = append(files, File{Path: fmt.Sprintf("t/%d/%d", i%7, i), Length: int64(i) * 3000})
	}
	return newContent(5, 50_000, files...)
}

func killedRig(t *testing.T, dir string) *rig {
	r := &rig{t: t, content: killedContent(), boot: [16]byte{1}}
	r.config = Config{Dir: dir + "/downloads", Journal: dir + "/journal", Layout: r.content.layout, Pool: NewPool(0)}
	r.open()
	return r
}

// TestNoAnnouncedPieceIsLostByAKill downloads in another process, which is killed again and again, at any moment.
func TestNoAnnouncedPieceIsLostByAKill(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		download(t, dir)
		return
	}
	dir := memoryDir(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	announced := make(map[int]bool)
	kills, inMidst := 0, 0
	for ; kills < 7; kills++ {
		fresh := downloadUntilKilled(t, dir, rng)
		for _, piece := range fresh {
			if announced[piece] {
				t.Fatalf("piece %d was fetched a second time", piece)
			}
			announced[piece] = true
		}
		if len(fresh) > 0 && len(announced) < killedContent().pieces() {
			inMidst++
		}
		r := killedRig(t, dir)
		for piece := range announced {
			if !bitfield(r.Have()).has(piece) {
				t.Fatalf("piece %d was announced and is lost", piece)
			}
		}
		for piece := range r.content.pieces() {
			if bitfield(r.Have()).has(piece) {
				r.wantPiece(piece)
				announced[piece] = true // at most one more than was announced
			}
		}
		if r.NeedsCheck() {
			t.Fatal("needs a check")
		}
		r.Close()
		if len(r.missing()) == 0 {
			break
		}
	}
	if inMidst < 2 {
		t.Fatalf("only %d of %d kills came in the midst of the download", inMidst, kills)
	}
	r := killedRig(t, dir)
	defer r.Close()
	r.fetch(r.missing()...)
	r.wantFiles()
}

// downloadUntilKilled returns the pieces that the other process announced.
func downloadUntilKilled(t *testing.T, dir string, rng *rand.Rand) (pieces []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoAnnouncedPieceIsLostByAKill$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir, quickExit)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "verified ")
		if !ok {
			continue
		}
		if len(pieces) == 0 {
			// Some time after the first piece, the process dies at a moment that it cannot choose.
			time.AfterFunc(time.Duration(rng.Int64N(int64(8*time.Millisecond))), func() { cmd.Process.Kill() })
		}
		piece, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, piece)
	}
	cmd.Process.Kill()
	cmd.Wait()
	return pieces
}

// download fetches what is missing, in random order, and announces each piece on standard output.
func download(t *testing.T, dir string) {
	r := killedRig(t, dir)
	missing := r.missing()
	order := r.content.blocks(missing...)
	shuffle(rand.New(rand.NewPCG(uint64(os.Getpid()), 0)), order, 40)
	go func() {
		for i, p := range order {
			r.write(p)
			pace := 50 * time.Microsecond
			if i > len(order)/3 { // so that even a kill that comes late comes in the midst
				pace = 20 * time.Millisecond
			}
			time.Sleep(pace)
		}
	}()
	for range missing {
		fmt.Printf("verified %d\n", r.next().Piece)
	}
	os.Exit(0)
}
