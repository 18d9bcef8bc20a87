package tracker

import (
	"errors"
	"fmt"
	"time"
)

// maxIgnored is how many datagrams that answer nothing are passed over before a tracker is given up.
const maxIgnored = 64

var errFlood = errors.New("it sends datagrams that answer nothing")

// connection is an id that a UDP tracker gave us, which proves that we receive at our address. The zero value is none.
type connection struct {
	id    uint64
	until time.Time
}

func (c connection) valid(now time.Time) bool { return now.Before(c.until) }

// call is one request to a UDP tracker and what BEP 15 wants for it: a connection id first, retransmission of what is not
// answered, answers matched by transaction id. It has no clock, no I/O and no randomness of its own: send what poll
// returns, hand in what comes.
//
// BEP 15 waits 15·2^n seconds before retransmission n+1, and so goes on asking a dead tracker for more than two hours. That
// fits a client whose trackers run side by side; ours come one after the other (BEP 12), so a silent one has to be left
// within Config.Timeout, and one lost datagram must not use that up. The unit here is therefore a fifth of that time, 3 s: sent
// after 0, 3 and 9 s, given up after 15. The doubling goes on between calls, where schedule.go waits 10·2^n s, up to half an
// hour. So a dead tracker gets 18 datagrams of 16 bytes in the first ten minutes (the BEP: 6), and 6 an hour later on (1).
type call struct {
	action uint32 // actionAnnounce or actionScrape
	body   []byte // what follows the head
	unit   time.Duration

	connection  connection
	cached      bool   // the connection id is from an earlier call: the tracker may have forgotten it
	sent        uint32 // action of the last datagram sent, if tries is not 0
	transaction uint32
	tries       int       // datagrams sent since the last answer
	due         time.Time // of the next one
	ignored     int
	why         error // the last datagram was ignored
}

// poll returns the datagram to be sent now, or nil when none is due. random is used for a new transaction.
func (c *call) poll(now time.Time, random uint32) []byte {
	if now.Before(c.due) {
		return nil
	}
	if c.cached && c.tries > 0 {
		c.connection = connection{} // the silence may be about it
	}
	action, id := c.action, c.connection.id
	if !c.connection.valid(now) {
		action, id, c.cached = actionConnect, protocolID, false
	}
	// A retransmission repeats the transaction id, so that the answer to either counts.
	if c.tries == 0 || action != c.sent {
		c.transaction = random
	}
	c.sent = action
	c.due = now.Add(c.unit << min(c.tries, 8))
	c.tries++
	b := appendHead(nil, id, action, c.transaction)
	if action == actionConnect {
		return b
	}
	return append(b, c.body...)
}

// receive takes a datagram of the tracker. It returns what follows the head of the answer, or nil while that has not come.
// An error ends the call.
func (c *call) receive(now time.Time, datagram []byte) ([]byte, error) {
	action, transaction, rest, err := parseHead(datagram)
	switch {
	case err != nil:
		return nil, c.ignore(err)
	case c.tries == 0 || transaction != c.transaction:
		return nil, c.ignore(fmt.Errorf("%w: it belongs to another transaction", ErrMalformed))
	case action == actionError && c.cached:
		// It may be about the connection id: once more with a new one.
		c.connection, c.cached, c.tries, c.due = connection{}, false, 0, now
		return nil, nil
	case action == actionError:
		return nil, &FailureError{Reason: oneLine(string(rest))}
	case action != c.sent:
		return nil, fmt.Errorf("%w: it is for action %d, not %d", ErrMalformed, action, c.sent)
	case action != actionConnect:
		return rest, nil
	}
	id, err := parseConnect(rest)
	if err != nil {
		return nil, err
	}
	c.connection = connection{id: id, until: now.Add(connectionTime)}
	c.tries, c.due = 0, now
	return nil, nil
}

// ignore passes over a datagram, which somebody else may have sent in the tracker's name, but not over any number.
func (c *call) ignore(why error) error {
	c.why = why
	if c.ignored++; c.ignored > maxIgnored {
		return fmt.Errorf("%w: %w", errFlood, why)
	}
	return nil
}
