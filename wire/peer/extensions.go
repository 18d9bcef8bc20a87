package peer

import (
	"fmt"
	"math"
	"net/netip"
)

// ExtHandshake is the extended message id of the extension handshake (BEP 10).
const ExtHandshake = 0

// MaxExtensions is the longest extension handshake read, in bytes; those of real clients are below 1 KiB.
const MaxExtensions = 64 << 10

// maxVersion is what is kept of the client name in an extension handshake, in bytes.
const maxVersion = 64

// Extensions is the extension handshake (BEP 10): the payload of the extended message [ExtHandshake]. The zero value of a
// field means that the sender does not say. The ids are those under which the sender wants to *receive* these messages;
// 0 means that it does not.
type Extensions struct {
	MetadataID   uint8 // ut_metadata, BEP 9
	PexID        uint8 // ut_pex, BEP 11
	HolepunchID  uint8 // ut_holepunch, BEP 55
	DontHaveID   uint8 // lt_donthave, BEP 54
	UploadOnlyID uint8 // upload_only as a message, a libtorrent extension next to BEP 21

	MetadataSize int64      // metadata_size: bytes of the info dictionary; never negative, otherwise unchecked
	ReqQ         int        // reqq: requests the sender will queue; 0 to math.MaxInt32
	Port         uint16     // p: TCP port the sender listens on
	Version      string     // v: client name and version, at most 64 bytes as sent; for people use [ClientName]
	YourIP       netip.Addr // yourip: the receiver's address as the sender sees it; never an IPv4-mapped one
	UploadOnly   bool       // upload_only: the sender wants no data (BEP 21)
}

// AppendMarshal appends the bencoded handshake to b. Zero fields are left out.
func (e Extensions) AppendMarshal(b []byte) []byte {
	id := func(name string, id uint8) {
		if id != 0 {
			b = appendInt(appendString(b, name), int64(id))
		}
	}
	// Bencoded keys are sorted (BEP 3).
	b = append(b, "d1:md"...)
	id("lt_donthave", e.DontHaveID)
	id("upload_only", e.UploadOnlyID)
	id("ut_holepunch", e.HolepunchID)
	id("ut_metadata", e.MetadataID)
	id("ut_pex", e.PexID)
	b = append(b, 'e')
	if e.MetadataSize > 0 {
		b = appendInt(appendString(b, "metadata_size"), e.MetadataSize)
	}
	if e.Port != 0 {
		b = appendInt(appendString(b, "p"), int64(e.Port))
	}
	if e.ReqQ > 0 {
		b = appendInt(appendString(b, "reqq"), int64(e.ReqQ))
	}
	if e.UploadOnly {
		b = appendInt(appendString(b, "upload_only"), 1)
	}
	if e.Version != "" {
		b = appendString(appendString(b, "v"), e.Version)
	}
	if e.YourIP.IsValid() {
		b = appendString(appendString(b, "yourip"), string(e.YourIP.Unmap().AsSlice()))
	}
	return append(b, 'e')
}

// ParseExtensions reads an extension handshake. Values of the wrong kind or outside of their range count as not sent, unknown
// keys and bytes behind the dictionary are ignored. The error wraps [ErrBencode], or [ErrTooLarge] above [MaxExtensions].
func ParseExtensions(payload []byte) (Extensions, error) { return Extensions{}.Update(payload) }

// Update returns e changed by a later handshake of the same peer, which may be sent at any time and says only what changed;
// an id of 0 turns an extension off (BEP 10). On an error, which is as in [ParseExtensions], e is returned as it was.
func (e Extensions) Update(payload []byte) (Extensions, error) {
	if len(payload) > MaxExtensions {
		return e, fmt.Errorf("peer sent an extension handshake of %d bytes: %w of %d", len(payload), ErrTooLarge, MaxExtensions)
	}
	next, d := e, decoder{payload}
	if err := next.update(&d); err != nil {
		return e, fmt.Errorf("peer sent a bad extension handshake: %w", err)
	}
	return next, nil
}

func (e *Extensions) update(d *decoder) error {
	if err := d.open(); err != nil {
		return err
	}
	for {
		key, ok, err := d.key()
		if err != nil || !ok {
			return err
		}
		var n int64
		var s []byte
		switch string(key) {
		case "m":
			err = e.updateIDs(d)
		case "metadata_size":
			e.MetadataSize, err = d.intOr(0, math.MaxInt64, 0)
		case "p":
			n, err = d.intOr(0, math.MaxUint16, 0)
			e.Port = uint16(n)
		case "reqq":
			n, err = d.intOr(0, math.MaxInt32, 0)
			e.ReqQ = int(n)
		case "upload_only":
			n, err = d.intOr(math.MinInt64, math.MaxInt64, 0)
			e.UploadOnly = n != 0
		case "v":
			s, err = d.strOr()
			e.Version = string(s[:min(len(s), maxVersion)])
		case "yourip":
			s, err = d.strOr()
			e.YourIP = netip.Addr{}
			if a, ok := netip.AddrFromSlice(s); ok {
				e.YourIP = a.Unmap()
			}
		default:
			err = d.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (e *Extensions) updateIDs(d *decoder) error {
	if !d.is('d') {
		return d.skip()
	}
	if err := d.open(); err != nil {
		return err
	}
	for {
		key, ok, err := d.key()
		if err != nil || !ok {
			return err
		}
		id, err := d.intOr(0, math.MaxUint8, 0)
		if err != nil {
			return err
		}
		switch string(key) {
		case "ut_metadata":
			e.MetadataID = uint8(id)
		case "ut_pex":
			e.PexID = uint8(id)
		case "ut_holepunch":
			e.HolepunchID = uint8(id)
		case "lt_donthave":
			e.DontHaveID = uint8(id)
		case "upload_only":
			e.UploadOnlyID = uint8(id)
		}
	}
}
