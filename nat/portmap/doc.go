// Package portmap asks the gateway of a home network to forward ports to this device: by PCP (RFC 6887), NAT-PMP (RFC 6886)
// and UPnP (Internet Gateway Device 1 and 2), without net/http and encoding/xml.
//
// All three are looked for at once; a port is mapped by the best that answers, in this order, and by the next one where that
// refuses. Leases are renewed at half their time and removed at the end. What is done when is decided by a core without I/O
// (schedule*.go); the rest encodes, decodes and carries.
//
//	method    looked for by                        mapped by                            at the gateway's
//	pcp       ANNOUNCE                             MAP                                  UDP port 5351
//	nat-pmp   request for the external address     the same, and a mapping request      UDP port 5351
//	upnp      M-SEARCH; the device's description;  GetExternalIPAddress,                UDP port 1900,
//	          GetExternalIPAddress                 AddPortMapping                       TCP ports that it names
//
// # Trust
//
// Whatever is received may be hostile. Nothing is ever sent to anybody but the gateway and SSDP's group 239.255.255.250:
// answers that name another host are refused, redirects too. An exchange is bounded in time, bytes and datagrams. What a
// gateway says of its external address is checked for what it can be (unicast, of the right family), and otherwise
// believed: see [Mapping.Public], and let somebody outside try it before telling others.
package portmap
