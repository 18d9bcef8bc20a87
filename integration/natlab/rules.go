//go:build linux

package natlab

import (
	"embed"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"text/template"
	"time"
)

// toolNft is the program that rules are loaded with, toolMap the one that opens ports on request.
const (
	toolNft = "nft"
	toolMap = "miniupnpd"
)

//go:embed rules
var ruleFiles embed.FS

// The ports of a sequential router, in turn.
const (
	sequenceFirst  = 20000
	sequenceLength = 4096
)

// ruleSet is what the templates in rules/ are filled with.
type ruleSet struct {
	WAN     netip.Addr   // the router's address outside
	LAN     netip.Prefix // IPv4 inside; not a carrier's
	Timeout int          // of a mapping without traffic, in seconds
	Hairpin bool
	Blocks  []block // a carrier's
}

// block is a home's part of a carrier's ports.
type block struct {
	Homes       string // the addresses of the home, as nft takes them
	WAN         netip.Addr
	First, Last int
}

// parseRules reads a file of rules/ with the parts that it may use.
func parseRules(file string) (*template.Template, error) {
	functions := template.FuncMap{"sequence": sequence}
	return template.New(file).Funcs(functions).ParseFS(ruleFiles, "rules/parts.nft", "rules/"+file)
}

// sequence lists the ports of a sequential router.
func sequence() []int {
	ports := make([]int, sequenceLength)
	for i := range ports {
		ports[i] = sequenceFirst + i*Step
	}
	return ports
}

// fill renders one of the file's templates: "" is the file itself.
func fill(file, part string, data any) (string, error) {
	t, err := parseRules(file)
	if err != nil {
		return "", err
	}
	if part == "" {
		part = file
	}
	var b strings.Builder
	err = t.ExecuteTemplate(&b, part, data)
	return b.String(), err
}

// replaceTable begins rules that take the place of a table, and of all that it learned.
func replaceTable(family, name string) string {
	return fmt.Sprintf("table %s %s {\n}\ndelete table %[1]s %[2]s\n", family, name)
}

// load gives rules to nft in the namespace: all of them take effect at once, or none.
func (m *machine) load(where *namespace, rules string) error {
	m.log.Debug(toolNft, "namespace", where.path, "rules", rules)
	path, err := lookTool(toolNft)
	if err != nil {
		return errNoNft
	}
	return where.do(func() error {
		cmd := exec.Command(path, "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("natlab: rules of %s: %w: %s", m.name, err, strings.Join(strings.Fields(string(out)), " "))
		}
		return nil
	})
}

// seconds rounds a timeout to what the kernel counts in.
func seconds(d time.Duration) int { return int((d + time.Second/2) / time.Second) }
