//go:build linux

package classify

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestAnAgentThatFindsNothingIsSilentButNotOneThatIsKilled(t *testing.T) {
	t.Parallel()
	s := place{kind: natlab.None}.scene(t)
	var quiet *silentError
	if _, err := s.agent(t.Context(), new(surrogate)); !errors.As(err, &quiet) || quiet.who != ourAgent {
		t.Errorf("without anybody to ask: %v", err)
	}
	mute, err := s.servers[0].ListenPacket("udp", netip.AddrPortFrom(s.address(s.servers[0]), 3478).String())
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close() // nobody reads it: whoever asks it waits
	u := &surrogate{at: []netip.AddrPort{netip.MustParseAddrPort(mute.LocalAddr().String())}}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := s.agent(ctx, u); err == nil || errors.As(err, &quiet) {
		t.Errorf("killed: %v", err)
	}
}
