package control

import "simplebit/nat"

// Network tells the surrogate what the agent found out about the network that it sits in, from the agent: after Welcome
// as soon as it is known, and after every check. It stands for all that was told before. It is for people to read and
// for other devices to try: a surrogate believes none of it. At most nat.MaxCandidates candidates, each an address of one
// host; Behaviour.Step at most MaxStep either way; Behaviour.Lifetime in whole seconds, at most MaxLifetime: as a lower
// bound it is cut to that. Readers take answers, dependences and kinds that they do not know as unknown.
type Network nat.Network
