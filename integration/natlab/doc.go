//go:build linux

// Package natlab builds test networks out of Linux network namespaces: hosts with addresses of their own around one core
// router, on which real programs and sockets of this process can be placed. It needs no root and leaves nothing behind.
//
//	attic                    core                     cellar
//	eth0 198.18.1.2/24 ──── to-attic 198.18.1.1
//	     2001:db8:0:1::2/64          2001:db8:0:1::1
//	                         to-cellar 198.18.2.1 ──── eth0 198.18.2.2/24
//	                                   2001:db8:0:2::1      2001:db8:0:2::2/64
//
// Every host has a /24 of 198.18.0.0/15 (RFC 2544) and a /64 of 2001:db8::/32 (RFC 3849) to itself, because BitTorrent
// clients refuse loopback peers and several DHT neighbours in one /24. The core forwards packets on layer 3, so TTL and
// hop limit go down by one between any two hosts. Nothing leads out of a lab, and names are not resolved in it.
//
// Homes are networks of their own behind a router of some Kind, which may sit behind a Carrier:
//
//	core                     cgn                        home                       phone
//	to-cgn 198.18.3.1 ────── wan0 198.18.3.2
//	                         to-home 100.64.1.1 ─────── wan0 100.64.1.2
//	                                                    lan0 192.168.1.1/24 ────── eth0 192.168.1.10/24
//	                                                         2001:db8:1:4::1/64         2001:db8:1:4::a/64
//
// What a router does is an nftables rule set, loaded by nft from a template in rules/. Knobs change it during a run: the UDP
// timeout, a reboot, a new address, loss, a rate limit, a cut link. All that crosses the internet crosses the core,
// where it can be recorded (Lab.Record). It is the kernel that forwards there, unless Config.Core asks for latency or loss,
// which takes a router in this process.
//
// A program starts with Enter, which runs it again inside fresh namespaces; the kernel ends everything in there together
// with the program that was called, even when that one dies by SIGKILL:
//
//	func TestMain(m *testing.M) {
//		natlab.Enter()
//		os.Exit(m.Run())
//	}
//
//	func TestDownload(t *testing.T) {
//		natlab.Require(t)
//		lab, err := natlab.New(natlab.Config{})
//		…
//		attic, err := lab.Host("attic")
//		out, err := attic.Command(ctx, "ip", "addr").Output()
//		ln, err := attic.Listen("tcp", ":0")
//	}
//
// A namespace belongs to a thread, not to a goroutine: see Host.Do for what this means for sockets.
package natlab
