// Package classify finds out what a NAT does to UDP, to tell whether natlab's kinds are what they say. It is an independent
// witness: it shares no code with nat/stun and nat/discovery, which are tested in the same labs, and asks in a trivial
// protocol of its own, see echo.go.
//
// Classify works in any World. There are two: Kernel, of sockets in a lab's namespaces, and Virtual, of the model in
// natlab/virtual, where waiting takes no time. Both must give the same verdict, which is the one that natlab.Kind.Expect has.
//
// Table puts beside each other what the two, our agent and coturn's turnutils_natdiscovery say of each kind.
package classify
