package control

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"simplebit/nat"
)

const document = "../../docs/control.cddl"

type example struct {
	title, diag string
	frame       []byte
}

func examples(t testing.TB) []example {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	var digits string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "; Example: "); ok {
			all = append(all, example{title: title})
			digits = ""
		}
		if len(all) == 0 {
			continue
		}
		e := &all[len(all)-1]
		if more, ok := strings.CutPrefix(line, "; diag "); ok {
			e.diag = strings.TrimSpace(e.diag + " " + more)
		}
		if more, ok := strings.CutPrefix(line, "; hex  "); ok {
			digits += more
			if e.frame, err = hex.DecodeString(digits); err != nil && len(digits)%2 == 0 {
				t.Fatalf("%s: %v", e.title, err)
			}
		}
	}
	return all
}

func TestEveryDocumentedExampleIsWhatWeReadAndWrite(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range examples(t) {
		m, err := ParseMessage(e.frame)
		if err != nil {
			t.Errorf("%s: %v", e.title, err)
			continue
		}
		seen[reflect.TypeOf(m).Name()] = true
		again, err := AppendMessage(nil, m)
		if err != nil || !bytes.Equal(again, e.frame) {
			t.Errorf("%s: written again as %x, %v", e.title, again, err)
		}
		if d, err := cbor.Diagnose(e.frame); err != nil || d != e.diag {
			t.Errorf("%s: the bytes mean %s, %v", e.title, d, err)
		}
	}
	for _, w := range wireTypes {
		if name := messageName(w); !seen[name] {
			t.Errorf("%s has no example", name)
		}
	}
}

func TestDocumentedExamplesMeanWhatTheirTitlesSay(t *testing.T) {
	id := testID
	want := map[string]Message{
		"an agent joins":             Hello{1, "edgeagent 0.1", "attic", "k7f2.x5qd", 6882},
		"seen at 203.0.113.7:40112":  Welcome{1, "rendezvous 0.1", "attic-2", addr("203.0.113.7:40112"), nil, 0},
		"seen at [2001:db8::7]:6882": Welcome{1, "rendezvous 0.1", "attic", addr("[2001:db8::7]:6882"), nil, 0},
		"two addresses that answer STUN at two ports": Welcome{1, "rendezvous 0.1", "attic", addr("203.0.113.7:40112"), []netip.AddrPort{
			addr("198.51.100.1:4433"), addr("198.51.100.1:4434"), addr("198.51.100.2:4433"), addr("198.51.100.2:4434")}, 0},
		"STUN at two ports of the address that the agent dialled": Welcome{1, "rendezvous 0.1", "attic", addr("203.0.113.7:40112"),
			[]netip.AddrPort{addr("0.0.0.0:4433"), addr("0.0.0.0:4434")}, 0},
		"over TCP at port 443 as well": Welcome{1, "rendezvous 0.1", "attic", addr("203.0.113.7:40112"), nil, 443},
		"behind a router that counts up its ports": Network{
			Behaviour: nat.Behaviour{
				Public: nat.No, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Preserved: nat.No,
				Step: 1, Hairpin: nat.No, Double: nat.No, Lifetime: 60 * time.Second, Reachable: nat.No,
			},
			Candidates: []nat.Candidate{
				{Kind: nat.HostCandidate, Addr: addr("192.168.1.7:6882"), TCP: true},
				{Kind: nat.HostCandidate, Addr: addr("[2001:db8::7]:6882"), TCP: true},
				{Kind: nat.MappedCandidate, Addr: addr("203.0.113.7:6882"), TCP: true},
				{Kind: nat.ReflexiveCandidate, Addr: addr("203.0.113.7:40112")},
			},
		},
		"nothing known but an address":   Network{Candidates: []nat.Candidate{{Kind: nat.HostCandidate, Addr: addr("192.168.1.7:6882")}}},
		"external ports that count down": Network{Behaviour: nat.Behaviour{Public: nat.No, Step: -2}},
		"no UDP":                         Network{Behaviour: nat.Behaviour{Blocked: true}},
		"two devices behind counting and careful routers": Punch{
			Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Key: [16]byte{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
			Controlling: true, In: 80 * time.Millisecond, Torrents: [][20]byte{id}, Peer: "attic",
			Remote:   []nat.Candidate{{Kind: nat.ReflexiveCandidate, Addr: addr("203.0.113.7:40112")}},
			Observed: addr("203.0.113.7:40113"), Self: netip.MustParseAddr("198.51.100.9"),
			Local:  nat.Behaviour{Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent},
			Theirs: nat.Behaviour{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Step: 1},
			Try:    1, Hold: 750 * time.Millisecond, Deadline: 6 * time.Second, Sockets: 64, Probes: 512,
		},
		"as little as can be said": Punch{
			Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Key: [16]byte{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Torrents: [][20]byte{id},
		},
		"a path to a predicted port": Punched{
			Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Outcome: PunchConnected, Remote: addr("203.0.113.7:40114"), RTT: 41250 * time.Microsecond,
			Took: 312 * time.Millisecond, Method: "predicted ports", Why: "it answered first",
			Tries: []PunchTry{
				{addr("203.0.113.7:40112"), nat.ReflexiveCandidate, 0, PunchNever, PunchNever, 4},
				{addr("203.0.113.7:40114"), 0, 151 * time.Millisecond, 190 * time.Millisecond, 231 * time.Millisecond, 7},
			},
			Others: 12,
		},
		"the path was lost": Punched{
			Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Outcome: PunchLost, Remote: addr("192.168.1.7:6882"), LAN: true, Socket: 3, Why: "silent for 15 s",
			Kept: 200 * time.Second, Chosen: "it answered first",
		},
		"the router has got another address": Observed{addr("203.0.113.8:40112")},
		"attic, which waits to be called":    Relay{id, DeviceIDOf(publicOf(keyOf("device"))), "attic", addr("203.0.113.7:40112"), true},
		"a device that will call":            Relay{id, DeviceIDOf(publicOf(keyOf("device"))), "", addr("[2001:db8::7]:6882"), false},
		"seen by IPv6":                       Observed{addr("[2001:db8::7]:6882")},
		"a used invite":                      Refused{RefusedInvite, "the invite was used by another device: ask for a new one"},
		"a download from one peer": Progress{
			ID: id, Generation: 3, State: StateDownloading, Size: 1 << 20, Have: 1 << 18, Downloaded: 300000, Uploaded: 16384,
			DownRate: 125000, UpRate: 2048, Partial: 37856,
			Peers: []Peer{{addr("203.0.113.9:6881"), "Transmission 3.00", "tcp", "dialled", 125000, 2048}},
		},
		"a full check":              Progress{ID: id, Generation: 4, State: StateChecking, Size: 1 << 20, Checked: 1 << 19},
		"the inventory is complete": Synced{},
		"dropped":                   Gone{id},
		"paused, and to be checked once it is not": Assign{ID: id, Generation: 4, Paused: true, Verify: 1},
		"limits, an end of seeding and a choice of files": Assign{
			ID: id, Generation: 5, Sequential: true, DownLimit: 2_000_000, UpLimit: 500_000, MaxPeers: 30, SeedRatio: 2000,
			SeedTime: 172800, Files: []FileRun{{2, FileSkip}, {1, FileHigh}, {3, FileNormal}, {40, FileSkip}},
		},
		"half of the files, all of them there": Progress{
			ID: id, Generation: 5, State: StateSeeding, Size: 1 << 20, Have: 1<<19 + 16384, Selected: 1 << 19, SelectedHave: 1 << 19,
		},
		"seeded as long as asked": Progress{
			ID: id, Generation: 6, State: StateFinished, Size: 1 << 20, Have: 1 << 20, Downloaded: 1 << 20, Uploaded: 2 << 20,
		},
		"dead, and a liar": Unusable{id, []UnusablePeer{
			{addr("203.0.113.9:6881"), UnusableUnreachable}, {addr("[2001:db8::9]:6881"), UnusableLied}}},
		"delete the files": Unassign{id, true},
		"one of each": Candidates{id, []Candidate{
			{addr("203.0.113.9:6881"), CandidateReachable, TransportUTP, true},
			{Addr: addr("[2001:db8::9]:6881"), Kind: CandidateUnverified}}},
		"three files in two pieces": LayoutHeader{id, "src", 32768, 40000, 3, 2},
		"the files of the header above": LayoutFiles{[]LayoutFile{
			{"src/go.mod", 300, false}, {"", 32468, true}, {"src/fmt/print.go", 7232, false}}},
	}
	for _, e := range examples(t) {
		m, ok := want[e.title]
		if !ok {
			continue
		}
		delete(want, e.title)
		if got, err := ParseMessage(e.frame); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", e.title, got, err, m)
		}
	}
	for title := range want {
		t.Errorf("no example %q in %s", title, document)
	}
}

// TestDocumentNamesEveryFieldOnce compares the document's rules with the struct tags: same keys, same optional ones.
func TestDocumentNamesEveryFieldOnce(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	// What the header's numbers mean cannot be zero, so the document requires what the codec could leave out.
	required := map[string]bool{"layout-header 3": true, "layout-header 4": true, "layout-header 5": true, "layout-header 6": true}
	key := regexp.MustCompile(`(?m)^  (\? )?(\d+): `)
	for _, w := range wireTypes {
		rule := kebab(strings.TrimSuffix(reflect.TypeOf(w).Name(), "Wire"))
		_, body, ok := strings.Cut(string(text), "\n"+rule+" = {\n")
		if !ok {
			t.Errorf("no rule %s", rule)
			continue
		}
		body, _, _ = strings.Cut(body, "\n}")
		if !strings.HasSuffix(body, "\n  * uint => any") {
			t.Errorf("%s does not allow keys of later versions", rule)
		}
		var documented, coded []string
		for _, m := range key.FindAllStringSubmatch(body, -1) {
			documented = append(documented, m[1]+m[2])
		}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(w)) {
			if f.Anonymous {
				continue
			}
			n, options, _ := strings.Cut(f.Tag.Get("cbor"), ",")
			if strings.Contains(options, "omitempty") && !required[rule+" "+n] {
				n = "? " + n
			}
			coded = append(coded, n)
		}
		if !reflect.DeepEqual(documented, coded) {
			t.Errorf("%s: documented %q, coded %q", rule, documented, coded)
		}
	}
}

var wireTypes = []any{
	helloWire{}, welcomeWire{}, refusedWire{}, progressWire{}, peerWire{}, syncedWire{}, goneWire{}, assignWire{}, fileRunWire{},
	unassignWire{}, candidatesWire{}, candidateWire{}, unusableWire{}, unusablePeerWire{}, layoutHeaderWire{}, layoutFilesWire{}, layoutFileWire{},
	networkWire{}, networkCandidateWire{}, punchWire{}, behaviourWire{}, punchedWire{}, punchTryWire{}, observedWire{}, relayWire{},
}

// messageName is the type of message that w writes, or of the one that it is part of.
func messageName(w any) string {
	name := strings.TrimSuffix(reflect.TypeOf(w).Name(), "Wire")
	switch name {
	case "peer":
		name = "progress"
	case "fileRun":
		name = "assign"
	case "candidate":
		name = "candidates"
	case "unusablePeer":
		name = "unusable"
	case "networkCandidate":
		name = "network"
	case "behaviour":
		name = "punch"
	case "punchTry":
		name = "punched"
	case "layoutFile":
		name = "layoutFiles"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func kebab(camel string) string {
	return strings.ToLower(regexp.MustCompile(`([A-Z])`).ReplaceAllString(camel, "-$1"))
}
