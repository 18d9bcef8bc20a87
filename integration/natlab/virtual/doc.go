// Package virtual is natlab's routers without a network: each natlab.Kind, and the carrier's NAT, as a pure model that is
// told the time and handed one UDP packet after the other. It does no I/O, starts nothing and never looks at a clock, so
// tests with thousands of homes and hours of silence take no time, and the same seed gives the same ports.
//
//	phone ──▶ home.Route(Inside) ──▶ carrier.Route(Inside) ──▶ ┐
//	                                                           Internet.Send
//	phone ◀── home.Route(Outside) ◀── carrier.Route(Outside) ◀ ┘
//
// The model is of what Linux does with the rules in natlab/rules, not of what the kinds' names promise, because the odd
// cases are those that punching meets: connection tracking knows a flow by its two ends before and after translation, and a
// flow that would be mistaken for another gets another port or is dropped. So on a bare router the packet of a stranger,
// which the router itself takes, spoils the device's port for that stranger; devices that use the same port share one
// outside as long as their peers differ (port overloading); and a device that sends to the router's own address before the
// port there is anybody's goes on talking to the router until that flow has ended.
//
// Not modelled: TCP, ICMP, fragments, loss, and what the links do. A flow that has ended is forgotten at once, where Linux may
// give its port to the same device again for up to a minute.
package virtual
