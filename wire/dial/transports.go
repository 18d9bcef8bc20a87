package dial

import "fmt"

// Transports says which transports a client uses, both to dial and to be dialled. The zero value is Both.
type Transports uint8

// The choices.
const (
	Both Transports = iota
	OnlyTCP
	OnlyUTP
)

var transportsNames = [...]string{Both: "both", OnlyTCP: "tcp", OnlyUTP: "utp"}

// String returns "both", "tcp" or "utp".
func (t Transports) String() string {
	if int(t) < len(transportsNames) {
		return transportsNames[t]
	}
	return fmt.Sprintf("transports %d", uint8(t))
}

// MarshalText is String for the flag package; it fails for a value that is none of the choices.
func (t Transports) MarshalText() ([]byte, error) {
	if int(t) >= len(transportsNames) {
		return nil, fmt.Errorf("%v is no choice of transports", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what [Transports.String] returns, for the flag package; t stays as it is where that fails.
func (t *Transports) UnmarshalText(text []byte) error {
	for i, name := range transportsNames {
		if string(text) == name {
			*t = Transports(i)
			return nil
		}
	}
	return fmt.Errorf("transport %q: choose both, tcp or utp", text)
}
