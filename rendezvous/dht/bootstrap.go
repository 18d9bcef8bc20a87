package dht

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

// Bounds of looking for the first nodes.
const (
	lookupTime = 5 * time.Second // for a name to be resolved
	perName    = 8               // addresses of one name
	lookEvery  = 15 * time.Second
	// neighbourTime is how long searches are held back until the neighbourhood is known.
	neighbourTime = 10 * time.Second
)

// errLooking is no failure yet.
var errLooking = errors.New("looking for the first DHT nodes")

// errNoNodes says what to do when nobody answers.
var errNoNodes = errors.New("no DHT node answers: check that UDP is let through both ways on the peer port, or name a node that runs with --dht-bootstrap HOST:PORT")

// maintain looks for the first nodes whenever there is no good one, and has the library take care of the rest. It returns
// when ctx has ended and the library is done.
func (f *family) maintain(ctx context.Context) {
	var library sync.WaitGroup
	defer library.Wait()
	defer f.end()
	maintained := false
	for failures := 0; ctx.Err() == nil; {
		wait := lookEvery
		if f.standing.Load() != ready || f.guard.good() == 0 {
			if err := f.revive(ctx); err != nil {
				wait = retryAfter(failures, 0.5)
				failures++
				f.standing.Store(alone)
				if failures == 1 && ctx.Err() == nil {
					f.lost(f.name(), err)
				}
			} else {
				failures = 0
				f.standing.Store(ready)
				f.reachable()
			}
		}
		if f.standing.Load() == ready && !maintained {
			// Not before: v2.23.0 leaves a goroutine behind for each try to bootstrap without any node.
			maintained = true
			library.Go(f.server.TableMaintainer)
		}
		select {
		case <-ctx.Done():
		case <-f.found:
		case <-time.After(wait):
		}
	}
}

// revive asks the nodes that were good once, and when none of them answers, those that are named in the configuration; then
// the neighbours of those who answer. It returns an error if nobody does.
func (f *family) revive(ctx context.Context) error {
	f.pingAll(ctx)
	var err error
	if f.guard.good() == 0 {
		err = f.askNamed(ctx)
	}
	if f.guard.good() == 0 {
		return cmp.Or(err, errNoNodes)
	}
	ctx, cancel := context.WithTimeout(ctx, neighbourTime)
	defer cancel()
	f.server.BootstrapContext(ctx)
	return nil
}

// pingAll asks all nodes that answered lately or in the run before.
func (f *family) pingAll(ctx context.Context) {
	f.guard.mu.Lock()
	nodes := f.guard.contacts.latest(maxSaved)
	f.guard.mu.Unlock()
	if len(nodes) == 0 {
		nodes = f.saved
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		if f.guard.contactable(n.addr) {
			wg.Go(func() { f.ping(ctx, n.addr) })
		}
	}
	wg.Wait()
}

// askNamed asks the nodes of the configuration for those close to us. It returns why some could not be asked.
func (f *family) askNamed(ctx context.Context) error {
	problems := make(chan string, len(f.bootstrap))
	var wg sync.WaitGroup
	for _, name := range f.bootstrap {
		wg.Go(func() {
			addrs, err := f.resolve(ctx, name)
			if err != nil {
				problems <- err.Error()
			}
			for _, a := range addrs {
				f.introduce(ctx, a)
			}
		})
	}
	wg.Wait()
	close(problems)
	var all []string
	for p := range problems {
		all = append(all, p)
	}
	if all == nil {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}

// introduce asks a node for those close to us.
func (f *family) introduce(ctx context.Context, a netip.AddrPort) {
	f.server.Query(ctx, dht.NewAddr(net.UDPAddrFromAddrPort(a)), methodFindNode, dht.QueryInput{
		MsgArgs: krpc.MsgArgs{Target: f.guard.self},
	})
}

// resolve returns the addresses of a HOST:PORT in this family.
func (f *family) resolve(ctx context.Context, name string) ([]netip.AddrPort, error) {
	hostname, portText, err := net.SplitHostPort(name)
	port, errPort := strconv.ParseUint(portText, 10, 16)
	if err != nil || errPort != nil || port == 0 {
		return nil, fmt.Errorf("%q is no HOST:PORT: correct --dht-bootstrap", name)
	}
	if ip, err := netip.ParseAddr(hostname); err == nil && ip.Unmap().Is6() != f.guard.is6 {
		return nil, nil // for the other family
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, f.name(), hostname)
	if err != nil {
		return nil, fmt.Errorf("%w: check the DNS server of this machine, or give an IP address with --dht-bootstrap", err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip.Unmap(), uint16(port))
		if !f.guard.contactable(a) {
			err = fmt.Errorf("%v is an address that may not be contacted: run with --allow-private if it is of a network of your own", ip)
			continue
		}
		addrs = append(addrs, a)
	}
	return addrs[:min(len(addrs), perName)], err
}

// name is the family's name for a resolver.
func (f *family) name() string {
	if f.guard.is6 {
		return "ip6"
	}
	return "ip4"
}
