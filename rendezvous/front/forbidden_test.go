package front

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

func TestDevicesInPrivateNetworksAreNotedOnceAndToldToNobody(t *testing.T) {
	c := testCore(1000)
	c.hungry = true
	home := netip.MustParseAddrPort("192.168.1.7:6881")
	c.add(epoch, []netip.AddrPort{home}, SourceDevice, 1)
	c.add(epoch, []netip.AddrPort{home}, SourceDevice, 1)
	steps, handshakes, _ := c.poll(epoch.Add(time.Hour))
	if c.book.len() != 0 || handshakes != 0 || steps.unverified.IsValid() {
		t.Errorf("%d addresses known, %d to be dialled, told of %v", c.book.len(), handshakes, steps.unverified)
	}
	if len(steps.notes) != 1 || !strings.Contains(steps.notes[0], home.String()) {
		t.Errorf("the log has %q", steps.notes)
	}
	c.add(epoch, []netip.AddrPort{addr(0)}, SourceDevice, 1)
	if c.book.len() != 1 {
		t.Error("a device that everybody can reach is refused, too")
	}
}

func TestDevicesAreNotOfferedUnverified(t *testing.T) {
	b := testBook()
	b.add(epoch, addr(0), SourceDevice)
	b.add(epoch, addr(1), SourceDevice)
	b.add(epoch, addr(1), SourceTracker)
	b.add(epoch, addr(2), SourceTracker)
	for i := range 3 {
		b.failed(epoch, b.byAddr[addr(i)], false, false)
	}
	b.add(epoch, addr(3), SourceDevice) // not tried yet
	var got []netip.AddrPort
	for i := range 10 {
		if e := b.offer(epoch.Add(time.Minute + time.Duration(i)*time.Second)); e != nil {
			got = append(got, e.addr)
		}
	}
	if want := []netip.AddrPort{addr(2)}; !slices.Equal(got, want) {
		t.Errorf("offered %v, want %v", got, want)
	}
}

func TestAddressThatTheDialerForbidsIsHopeless(t *testing.T) {
	guarded := dial.Dialer{TCP: &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		return fmt.Errorf("%s is private: %w", address, ErrForbidden)
	}}}
	_, err := guarded.Dial(t.Context(), netip.MustParseAddrPort("127.0.0.1:9"), peer.Handshake{}, dial.Way{})
	if !errors.Is(err, ErrForbidden) || !hopeless(err) {
		t.Fatalf("error %v: hopeless is %v", err, hopeless(err))
	}
	c := testCore(1000)
	c.hungry = true
	c.add(epoch, []netip.AddrPort{addr(0)}, SourceTracker, 1)
	id, _, _, _ := c.dial(epoch)
	c.failed(epoch, id, err)
	for i := range 120 {
		steps, handshakes, _ := c.poll(epoch.Add(time.Duration(i) * time.Minute))
		if handshakes != 0 || steps.unverified.IsValid() {
			t.Fatalf("after %d minutes: %d handshakes wanted, told of %v", i, handshakes, steps.unverified)
		}
	}
}
