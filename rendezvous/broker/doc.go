// Package broker decides which devices make a path to each other by hole punching, when, and with whose addresses.
//
// Two devices that hold one torrent, of which at least one wants pieces, and that are not connected, are asked to make a path:
// each gets a [control.Punch] with the addresses of the other, a key for this attempt, and the moment to begin, worked out
// from both round-trip times. They tell what became of it by [control.Punched].
//
//	sessions ──progress, network, results──▶ core ──attempts──▶ sessions
//	                                          ▲
//	                            now, where devices are seen
//
// The core does no I/O and is told the time. Nothing depends on a message having arrived: an attempt that nobody tells of
// ends by itself. Of one pair of devices there is never more than one attempt. A path that was made before the surrogate began is
// known again when both devices tell of it.
//
// # When
//
//   - A device takes part once it has told what it sits behind, or 10 s after it came; one that joined before the surrogate began,
//     not in its first 5 s, as attempts of before may be under way.
//   - It has at most 2 attempts at once, of which at most one opens many sockets, and at most 16 paths.
//   - After a failure a pair rests for 65 s, longer than most NATs remember, and then twice as long each time, up to 30 minutes. Where
//     ports are guessed from many sockets the second attempt follows at once, as its sockets are fresh.
//   - When the network or the address of either changed, a pair may try at once, but not within a minute of the last such time.
//   - A path that is lost is made anew at once, but after the second in a row that did not last 5 minutes the pair rests as after
//     failures.
//   - What worked between two networks is tried first for a day.
//
// # Whose addresses
//
// A device tells its own addresses and may lie. So of its public ones only those are passed on that are its host as the
// surrogate sees it on the device's session, and one more host of the other family of addresses, which cannot be checked. What
// that host gets is bounded by nat/punch. Private ones are passed on only where the surrogate sees both devices at one address.
package broker
