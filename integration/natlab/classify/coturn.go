//go:build linux

package classify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"

	"simplebit/nat"
)

// toolCoturn is coturn's tool of discovery (package coturn).
const toolCoturn = "turnutils_natdiscovery"

// coturn has the tool find out about mapping, filtering and hairpinning at once, each by a socket of its own.
func (s *scene) coturn(ctx context.Context, u *surrogate) (v Verdict, err error) {
	var said [3]string
	var errs [len(said)]error
	var running sync.WaitGroup
	for i, test := range []string{"-m", "-f", "-H"} {
		running.Go(func() {
			// -P asks in more bytes than any answer has.
			cmd := s.device.Command(ctx, toolCoturn, test, "-P", "-L", s.address(s.device).String(), u.at[0].Addr().String())
			out, err := cmd.CombinedOutput()
			// Its exit status tells nothing of what it found.
			if exit := new(exec.ExitError); !errors.As(err, &exit) || ctx.Err() != nil {
				errs[i] = err
			}
			said[i] = string(out)
		})
	}
	running.Wait()
	err = errors.Join(errs[:]...)
	if errors.Is(err, exec.ErrNotFound) {
		return Verdict{Missing: "not installed"}, nil
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", toolCoturn, err)
	}
	return parseCoturn(said[0], said[1], said[2])
}

// What the tool says. Where the address is public it tells of the mapping when it is asked for the filtering, too.
var (
	coturnSeen      = regexp.MustCompile(`UDP reflexive addr: (\S+)`)
	coturnLocal     = regexp.MustCompile(`Local addr: : (\S+)`)
	coturnMapping   = regexp.MustCompile(`NAT(?: with |! \()(Endpoint Independent|Address Dependent|Address and Port Dependent) Mapping`)
	coturnFiltering = regexp.MustCompile(`NAT with (Endpoint Independent|Address Dependent|Address and Port Dependent) Filtering`)
)

const (
	coturnTimeout = "STUN receive timeout.."
	coturnHairpin = "maybe a successful hairpinning"
)

// parseCoturn reads what the tool said of mapping, of filtering and of hairpinning. What it has no words for is unknown.
func parseCoturn(mapping, filtering, hairpin string) (v Verdict, err error) {
	seen, local := coturnSeen.FindStringSubmatch(mapping), coturnLocal.FindStringSubmatch(mapping)
	if seen == nil && strings.Contains(mapping, coturnTimeout) {
		v.Blocked = true
		return v, nil
	}
	if seen == nil || local == nil {
		return v, fmt.Errorf("%s said %q", toolCoturn, mapping)
	}
	outside, err := netip.ParseAddrPort(bracketed(seen[1]))
	if err != nil {
		return v, fmt.Errorf("%s: %w", toolCoturn, err)
	}
	inside, err := netip.ParseAddrPort(bracketed(local[1]))
	if err != nil {
		return v, fmt.Errorf("%s: %w", toolCoturn, err)
	}
	v.Public = answer(outside.Addr() == inside.Addr())
	v.Preserved = answer(outside.Port() == inside.Port())
	v.Mapping, v.Filtering = coturnDependence(coturnMapping, mapping), coturnDependence(coturnFiltering, filtering)
	switch {
	case strings.Contains(hairpin, coturnHairpin):
		v.Hairpin = nat.Yes
	case strings.Contains(hairpin, coturnTimeout):
		v.Hairpin = nat.No
	}
	if v.Filtering != nat.Unknown {
		v.Reachable = answer(v.Filtering == nat.EndpointIndependent)
	}
	return v, nil
}

// bracketed is an endpoint of IPv6 as Go writes it; the tool writes it without brackets.
func bracketed(s string) string {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || s[0] == '[' || strings.Count(s, ":") == 1 {
		return s
	}
	return "[" + s[:i] + "]" + s[i:]
}

func coturnDependence(verdict *regexp.Regexp, said string) nat.Dependence {
	m := verdict.FindStringSubmatch(said)
	if m == nil {
		return nat.Unknown
	}
	switch m[1] {
	case "Endpoint Independent":
		return nat.EndpointIndependent
	case "Address Dependent":
		return nat.AddressDependent
	case "Address and Port Dependent":
		return nat.AddressAndPortDependent
	}
	return nat.Unknown
}
