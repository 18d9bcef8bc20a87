package rendezvous

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"simplebit/nat"
)

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string // "" when it works
	}{
		"zero":                      {Config{}, ""},
		"API on localhost":          {Config{HTTP: "localhost:8080"}, ""},
		"API on ::1":                {Config{HTTP: "[::1]:8080"}, ""},
		"API on 127.1.2.3":          {Config{HTTP: "127.1.2.3:8080"}, ""},
		"API everywhere":            {Config{HTTP: ":8080"}, "--insecure-http"},
		"API on 0.0.0.0":            {Config{HTTP: "0.0.0.0:8080"}, "--insecure-http"},
		"API on ::":                 {Config{HTTP: "[::]:8080"}, "--insecure-http"},
		"API on a private address":  {Config{HTTP: "10.0.0.1:8080"}, "--insecure-http"},
		"API on a name":             {Config{HTTP: "example.org:8080"}, "--insecure-http"},
		"API that looks local":      {Config{HTTP: "localhost.example.org:8080"}, "--insecure-http"},
		"API everywhere on purpose": {Config{HTTP: ":8080", InsecureHTTP: true}, ""},
		"API without a port":        {Config{HTTP: "127.0.0.1", InsecureHTTP: true}, "--http"},
		"control without a port":    {Config{Control: "example.org"}, "--control"},
		"TCP without a port":        {Config{ControlTCP: "443"}, "--control-tcp"},
		"TCP port of letters":       {Config{ControlTCP: ":https"}, "--control-tcp"},
		"TCP port too large":        {Config{ControlTCP: ":65536"}, "--control-tcp"},
		"TCP":                       {Config{ControlTCP: ":443"}, ""},
		"peer without a port":       {Config{Peer: "6881"}, "--peer"},
		"peer port too large":       {Config{Peer: ":65536"}, "--peer"},
		"node without a port":       {Config{DHTBootstrap: []string{"a:1", "foo"}}, `--dht-bootstrap "foo"`},
		"node port too large":       {Config{DHTBootstrap: []string{"1.2.3.4:99999"}}, "--dht-bootstrap"},
		"node without a host":       {Config{DHTBootstrap: []string{":6881"}}, "--dht-bootstrap"},
		"node for no DHT":           {Config{NoDHT: true, DHTBootstrap: []string{"a:1"}}, "--no-dht"},
		"peer port of letters":      {Config{Peer: ":http"}, "--peer"},
		"public URL":                {Config{Public: []string{"https://example.org"}}, "--public"},
		"public with quotes":        {Config{Public: []string{"''"}}, "--public"},
		"public, an international":  {Config{Public: []string{"bücher.example:4433"}}, ""},
		"public of spaces":          {Config{Public: []string{" "}}, "--public"},
		"public with port 0":        {Config{Public: []string{"example.org:0"}}, "--public"},
		"public":                    {Config{Public: []string{"example.org:4433"}}, ""},
		"public, the second wrong":  {Config{Public: []string{"example.org", ":1"}}, `--public ":1"`},
		"public, names":             {Config{Control: "192.0.2.1:4433", Public: []string{"192.0.2.1:1", "192.0.2.1", "one.example.org", "two.example.org", "2001:db8::1"}}, ""},
		"public, of others":         {Config{Public: []string{"127.0.0.1", "203.0.113.99"}}, "--public 203.0.113.99: with 127.0.0.1 as well it must be an address of this machine"},
		"public, at one host":       {Config{Control: "127.0.0.1:4433", Public: []string{"127.0.0.1", "203.0.113.99"}}, `--control "127.0.0.1:4433": with --public 127.0.0.1 and 203.0.113.99 it listens on both: want :4433`},
		"public, three":             {Config{Public: []string{"192.0.2.1", "192.0.2.2", "::ffff:192.0.2.3"}}, "--public"},
		"a slow relay":              {Config{RelayRate: 1023}, "--relay-rate"},
		"a negative relay":          {Config{RelayRate: -1}, "--relay-rate"},
		"a fast relay":              {Config{RelayRate: 1 << 40}, ""},
		"a slow relay for a user":   {Config{RelayUserRate: 1023}, "--relay-user-rate"},
		"a relay beyond all bounds": {Config{RelayRate: 1<<40 + 1}, "--relay-rate"},
		"no relay":                  {Config{NoRelay: true}, ""},
		"STUN":                      {Config{STUNAlt: ":4434"}, ""},
		"STUN at any port":          {Config{STUNAlt: ":0", Control: ":0"}, ""},
		"STUN at the same host":     {Config{STUNAlt: "192.0.2.1:4434", Control: "192.0.2.1:4433"}, ""},
		"STUN at another host":      {Config{STUNAlt: "192.0.2.2:4434", Control: "192.0.2.1:4433"}, "--stun-alt"},
		"STUN without a port":       {Config{STUNAlt: "4434"}, "--stun-alt"},
		"STUN at a port of letters": {Config{STUNAlt: ":stun"}, "--stun-alt"},
		"STUN at the control port":  {Config{STUNAlt: ":4433"}, `--stun-alt ":4433" is the port of --control`},
	} {
		err := c.cfg.Check()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want an error that names %s", name, err, c.want)
		}
	}
}

func addrs(t *testing.T, prefixes ...string) []net.Addr {
	t.Helper()
	var all []net.Addr
	for _, p := range prefixes {
		ip, network, err := net.ParseCIDR(p)
		if err != nil {
			t.Fatal(err)
		}
		network.IP = ip
		all = append(all, network)
	}
	return all
}

func TestTwoPublicAddressesAreThisMachinesAndListenedOn(t *testing.T) {
	own := addrs(t, "127.0.0.1/8", "192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64")
	for _, c := range []struct{ public, control, want string }{
		{"", "192.0.2.1:4433", ""},
		{"192.0.2.1 2001:db8::1", "192.0.2.1:4433", ""},
		{"198.51.100.1 2001:db8:7::7", ":4433", ""}, // one of each, which may be a router's
		{"192.0.2.1 192.0.2.2 2001:db8:7::7", ":4433", ""},
		{"192.0.2.1 192.0.2.2", "0.0.0.0:4433", ""},
		{"192.0.2.1 192.0.2.2", "[::]:4433", ""},
		{"192.0.2.1 192.0.2.2", "192.0.2.1:4433", "--control"},
		{"192.0.2.1 192.0.2.2", "example.org:4433", "--control"},
		{"192.0.2.1 192.0.2.3", ":4433", "--public 192.0.2.3"},
		{"192.0.2.3 192.0.2.1", ":4433", "--public 192.0.2.3"},
		{"2001:db8::1 2001:db8::2", ":4433", "--public 2001:db8::2"},
	} {
		err := checkSecond(publicAddrs(strings.Fields(c.public)), c.control, own)
		if (err == nil) != (c.want == "") || err != nil && (!strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("--public %s --control %s: %v, want %q", c.public, c.control, err, c.want)
		}
	}
}

func TestInvitesNameWhereDevicesReachTheSurrogate(t *testing.T) {
	own := addrs(t, "127.0.0.1/8", "192.168.1.2/24", "198.18.0.5/24")
	for _, c := range []struct{ public, control, want string }{
		{"", "[::]:4433", "198.18.0.5:4433"},
		{"", "0.0.0.0:4433", "198.18.0.5:4433"},
		{"", "192.168.1.2:5000", "192.168.1.2:5000"},
		{"", "[::ffff:192.168.1.2]:5000", "192.168.1.2:5000"},
		{"", "[2001:db8::1]:5000", "[2001:db8::1]:5000"},
		{"home.example.org", "[::]:4433", "home.example.org:4433"},
		{"home.example.org:14433", "[::]:4433", "home.example.org:14433"},
		{"203.0.113.1", "192.168.1.2:4433", "203.0.113.1:4433"},
		{"2001:db8::1", "[::]:4433", "[2001:db8::1]:4433"},
		{"[2001:db8::1]", "[::]:4433", "[2001:db8::1]:4433"},
		{"[2001:db8::1]:14433", "[::]:4433", "[2001:db8::1]:14433"},
	} {
		var public []string
		if c.public != "" {
			public = []string{c.public, "second.example.org"}
		}
		got, err := inviteAddr(public, netip.MustParseAddrPort(c.control), own, nat.Public)
		if err != nil || got != c.want {
			t.Errorf("--public %q, listening on %s: %q, %v; want %s", c.public, c.control, got, err, c.want)
		}
	}
	if _, err := inviteAddr(nil, netip.MustParseAddrPort("[::]:4433"), nil, nat.Public); err == nil || !strings.Contains(err.Error(), "--public") {
		t.Errorf("a machine without addresses: %v", err)
	}
}

func TestTheAddressThatMostDevicesReachIsChosen(t *testing.T) {
	for _, c := range []struct {
		own  []string
		want string
	}{
		{nil, ""},
		{[]string{"fe80::1/64"}, ""},
		{[]string{"::1/128"}, "::1"},
		{[]string{"::1/128", "127.0.0.1/8"}, "127.0.0.1"},
		{[]string{"127.0.0.1/8", "fd00::1/64"}, "fd00::1"},
		{[]string{"fd00::1/64", "10.0.0.1/8"}, "10.0.0.1"},
		{[]string{"10.0.0.1/8", "2001:db8::1/64"}, "2001:db8::1"},
		{[]string{"2001:db8::1/64", "198.18.0.1/24", "10.0.0.1/8"}, "198.18.0.1"},
		{[]string{"198.18.0.1/24", "198.18.0.2/24"}, "198.18.0.1"},
	} {
		if got := chooseAddr(addrs(t, c.own...), nat.Public); got != c.want {
			t.Errorf("of %v: %q, want %q", c.own, got, c.want)
		}
	}
}
