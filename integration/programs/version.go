//go:build linux

package programs

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
)

// versionFlags are how the programs are asked for their version. opentracker cannot be asked.
var versionFlags = map[string]string{
	TransmissionDaemon: "--version",
	QBittorrentNox:     "--version",
	Aria2c:             "--version",
	RTorrent:           "-h",
}

var versionNumber = regexp.MustCompile(`\bv?(\d+\.\d+(\.\d+)*)`)

// Version returns the version that an installed client says it has, such as "4.5.2".
func Version(ctx context.Context, program string) (string, error) {
	flag, ok := versionFlags[program]
	if !ok {
		return "", fmt.Errorf("programs: %s does not tell its version", program)
	}
	out, err := exec.CommandContext(ctx, program, flag).CombinedOutput()
	found := versionNumber.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("programs: %s %s says no version: %v: %.100q", program, flag, err, out)
	}
	return string(found[1]), nil
}
