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
// The core does no I/O and is told the time. Nothing depends on a message having arrived: an attempt that nobody tells of ends by
// itself. Of one pair of devices there is never more than one attempt. A path that was made before the surrogate began is known
// again when both devices tell of it. A device tells of its paths when its session begins, after its torrents and its network:
// what it does not tell of within 2 s of these it has forgotten, so that path is over, whatever the other one says.
//
// # When
//
//   - A device takes part once it has told what it sits behind, or 10 s after it came; one that joined before the surrogate
//     began, not in its first 5 s, as attempts of before may be under way. Ports are guessed once both have told how their NATs
//     give them out, or 10 s after the later one came.
//   - It has at most 2 attempts at once, of which ports are guessed in at most one, and at most 16 paths.
//   - After a failure a pair rests for 65 s, longer than most NATs remember, and then twice as long each time, up to 30 minutes.
//     Where ports are guessed from many sockets the second attempt follows at once, as its sockets are fresh.
//   - When the network or the address of either changed, a pair may try at once, but not within a minute of the last such time;
//     within ten minutes where only the device says so, and the surrogate sees it at the same address.
//   - An attempt for which a device is busy counts for that rest like a failure, and so does a path of which only one of them has
//     told and that did not last 5 minutes. Where both are busy, the pair rests for 30 s at first.
//   - A path that is lost, or that one of the two has forgotten, is made anew at once, but after the second in a row that did not
//     last 5 minutes the pair rests as after failures.
//   - What worked between two networks is tried first for a day.
//
// # Relays
//
// Where one device lacks something, the other has anything, and they have neither a path nor a connection, the surrogate relays
// between them, for one torrent at a time: at once where their networks leave no way, or where UDP does not reach one of them, as
// its session shows, and they are not in one home, and else 1.5 s after an attempt began, or 1.9 s after both could have one.
// Attempts go on meanwhile: a relayed connection is no path. Devices end it when they have a better one.
//
//   - There are at most as many of a device, and in all, as [Config] says. Everybody has one before anybody has two, and every two
//     devices have one before any two have another, for another torrent: those further ones end, after 20 s, for the first one of
//     others that adds anything.
//   - One that has carried less than 16 KiB in a minute ends for any that adds something. It rests for a minute then, and longer
//     each time, and ends no other one for its place until it has carried more.
//   - A device with 4 paths for the torrent is relayed only to who has all of it, if none of those leads to such a one.
//   - What a relay adds is how many bytes more the one device has than the other, and than anybody to whom that has a path or a
//     relay. One that finds no place has one end that adds half as much at most, has been on for 20 s, and of whose devices none is
//     losing another one: so two never take turns, and who lies about what it has ends one in 20 s.
//   - Of a torrent a device waits for 8 relays at once, to those who have most and of whom it can have one.
//   - What ends while it is needed begins again after 5 s, then after twice as long each time, up to 5 minutes, and at once
//     when a network has changed.
//
// # Whose addresses
//
// A device tells its own addresses and may lie. So of its public ones only those are passed on that are its host as the surrogate
// sees it on the device's session, and one more host of the other family of addresses, which cannot be checked. Those who have
// that family are told it, in at most 2 attempts of 10 minutes, whichever devices say that the host is theirs, and as often again
// for each device for which it has answered, by the word of who got the answer. An answer begins that anew. As nat/punch sends an
// address or a /64 that does not answer 64 datagrams at most, a stranger gets 128 in 10 minutes. Private ones are passed on only
// where the surrogate sees both devices at one address; they are told alone where UDP does not reach one of the two, as that may
// pass within the home. A router may give a device another port than that of its session: where others have their paths to its
// main socket is passed on as well, if it is on that host. Of a NAT that counts ports the surrogate sees the one of the session,
// and adds what attempts have taken since.
package broker
