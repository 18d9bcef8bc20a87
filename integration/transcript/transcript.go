// Package transcript plays golden transcripts: tests of cores without I/O that are read as behaviour, and reviewed as a diff of
// it. A transcript is blocks with an empty line between them. A block without a line of dashes is a comment; another is
// commands, the dashes, and what they print:
//
//	peers a b gave=10
//	rounds 2
//	----
//	a ?b
//	a ?b
package transcript

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

// dashes stand between commands and output.
const dashes = "----"

// Run plays every *.txt in the folder as a subtest, and fails where the output is not what stands there; with -update it
// writes it there instead. begin is called for each file and returns what carries out a command, given by its words, at least
// one, and returns what that prints. It fails the test where there is no transcript.
func Run(t *testing.T, folder string, begin func(t *testing.T) (command func(words []string) string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(string(b), begin(t))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("the transcript became\n%s", got)
			}
		})
	}
}

// replay returns the transcript with all output written anew.
func replay(transcript string, command func(words []string) string) string {
	var blocks []string
	for block := range strings.SplitSeq(transcript, "\n\n") {
		commands, _, found := strings.Cut(block, dashes)
		if found {
			block = commands + dashes + "\n"
			for line := range strings.Lines(commands) {
				if words := strings.Fields(line); len(words) > 0 {
					block += command(words)
				}
			}
		}
		blocks = append(blocks, strings.TrimSpace(block))
	}
	return strings.Join(blocks, "\n\n") + "\n"
}
