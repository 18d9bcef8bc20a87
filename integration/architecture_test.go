package integration

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "simplebit/"

// anything marks a package that may import every other.
var anything = []string{"*"}

// layers is the architecture: every package that has code, and the packages of
// ours it may import. docs/architecture.md says what each owns.
var layers = map[string][]string{
	"wire/control":  {"nat"},
	"wire/peer":     {},
	"wire/mse":      {},
	"wire/utp":      {"nat/udpmux"},
	"wire/dial":     {"wire/peer", "wire/mse", "wire/utp"},
	"wire/link":     {},
	"nat":           {},
	"nat/udpmux":    {},
	"nat/stun":      {},
	"nat/portmap":   {"nat"},
	"nat/discovery": {"nat", "nat/stun", "nat/udpmux"},
	"nat/punch":     {"nat"},

	"edgeagent/picker":  {},
	"edgeagent/choker":  {},
	"edgeagent/storage": {},
	"edgeagent/swarm":   {"edgeagent/picker", "edgeagent/choker", "edgeagent/storage", "wire/peer", "wire/dial"},
	"edgeagent": {
		"edgeagent/picker", "edgeagent/choker", "edgeagent/storage", "edgeagent/swarm",
		"wire/control", "wire/link", "wire/peer", "wire/mse", "wire/utp", "wire/dial",
		"nat", "nat/udpmux", "nat/stun", "nat/portmap", "nat/discovery", "nat/punch",
	},

	"rendezvous/metainfo": {},
	"rendezvous/store":    {},
	"rendezvous/account":  {"rendezvous/store"},
	"rendezvous/tracker":  {},
	"rendezvous/dht":      {"nat"},
	"rendezvous/front":    {"wire/peer", "wire/mse", "wire/utp", "wire/dial"},
	"rendezvous/torrent": {
		"wire/control", "wire/dial", "rendezvous/job", "rendezvous/tracker", "rendezvous/dht", "rendezvous/front",
	},
	"rendezvous/session":   {"wire/control", "wire/link", "nat"},
	"rendezvous/relay":     {"wire/control", "wire/link"},
	"rendezvous/broker":    {"wire/control", "nat", "nat/punch"},
	"rendezvous/job":       {"wire/control", "nat", "rendezvous/metainfo"},
	"rendezvous/apiclient": {},
	"rendezvous/api":       {"rendezvous/apiclient", "rendezvous/account"},
	"rendezvous": {
		"rendezvous/metainfo", "rendezvous/store", "rendezvous/account", "rendezvous/tracker", "rendezvous/dht",
		"rendezvous/front", "rendezvous/torrent", "rendezvous/broker", "rendezvous/relay",
		"rendezvous/session", "rendezvous/job", "rendezvous/apiclient", "rendezvous/api",
		"wire/control", "wire/link", "wire/peer", "wire/mse", "wire/utp", "wire/dial", "nat", "nat/udpmux", "nat/stun",
	},

	"cmd/rate":       {},
	"cmd/rendezvous": {"cmd/rate", "rendezvous", "wire/dial", "wire/mse"},
	"cmd/edgeagent":  {"cmd/rate", "edgeagent", "wire/dial", "wire/mse"},
	"cmd/simplebit":  {"cmd/rate", "rendezvous/apiclient"},
	"cmd/natlab":     {"cmd/rate", "integration/natlab", "integration/natlab/classify", "integration/natlab/matrix", "nat"},

	"integration/transcript":      {},
	"integration/natlab":          {"nat"},
	"integration/natlab/classify": {"nat", "nat/stun", "nat/udpmux", "nat/discovery", "integration/natlab", "integration/natlab/virtual"},
	"integration/natlab/matrix":   {"nat", "integration/natlab", "rendezvous/apiclient"},
	"integration/natlab/virtual":  {"nat", "integration/natlab"},
	"integration/programs":        anything,
	"integration/demo":            anything,
	"integration/bench":           anything,

	"integration/bench/drivers/measured":  {},
	"integration/bench/drivers/floor":     {"integration/bench/drivers/measured"},
	"integration/bench/drivers/quicfloor": {"integration/bench/drivers/measured"},
	"integration/bench/drivers/utpflow":   {"integration/bench/drivers/measured", "nat/udpmux", "wire/utp"},
	"integration/bench/rain":              {},
}

func TestImportsFollowLayers(t *testing.T) {
	// Source is parsed rather than listed: every build tag counts, and the
	// files read here invalidate the test cache.
	seen := map[string]bool{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel("..", file)
		pkg := path.Dir(filepath.ToSlash(rel))
		allowed, ok := layers[pkg]
		if seen[pkg] = true; !ok {
			t.Errorf("package %s is not in layers: add it with its allowed imports", pkg)
			return nil
		}
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			own, ok := strings.CutPrefix(name, module)
			if ok && !slices.Equal(allowed, anything) && !slices.Contains(allowed, own) {
				t.Errorf("%s: %s must not import %s", rel, pkg, own)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("layers lists %s, which does not exist", pkg)
		}
	}
}

// agentBans maps packages the agent binary must not link to the reason.
var agentBans = map[string]string{
	module + "rendezvous":        "the agent does no control-plane work",
	"net/http":                   "adds 1.1 MB; control runs over QUIC",
	"text/template":              "reflection defeats dead-code elimination",
	"github.com/anacrolix":       "the extension handshake needs a few lines of bencode",
	"github.com/urfave/cli":      "adds 2.9 MB; std flag serves the agent",
	"github.com/nats-io":         "the store is the surrogate's",
	"github.com/danielgtaylor":   "the API is the surrogate's",
	"google.golang.org/protobuf": "the control protocol is CBOR",
}

func TestAgentStaysSmall(t *testing.T) {
	os.ReadFile("../go.mod") // a changed dependency invalidates the test cache
	out, err := exec.Command("go", "list", "-deps", module+"cmd/edgeagent").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for ban, why := range agentBans {
			if dep == ban || strings.HasPrefix(dep, ban+"/") {
				t.Errorf("cmd/edgeagent links %s: %s", dep, why)
			}
		}
	}
}
