package account

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// maxName is the longest name of a device in bytes; a label of a host name has room for it.
const maxName = 32

// claimName returns the device's name, and gives it one like the wished when it has none.
func (a *Accounts) claimName(ctx context.Context, device, wished string) (name string, err error) {
	_, err = a.names.Update(ctx, theNames, func(names *map[string]string) error {
		name = nameOf(*names, device)
		if name != "" {
			return nil
		}
		if len(*names) >= MaxDevices {
			return ErrTooManyDevices
		}
		name = uniqueName(*names, normalName(wished))
		(*names)[name] = device
		return nil
	})
	return name, err
}

// takeName gives the device exactly this name in place of its old one.
func (a *Accounts) takeName(ctx context.Context, device, name string) error {
	_, err := a.names.Update(ctx, theNames, func(names *map[string]string) error {
		if holder, taken := (*names)[name]; taken && holder != device {
			return fmt.Errorf("%w: another device is called %q: rename that one first", ErrNameTaken, name)
		}
		dropName(*names, device)
		(*names)[name] = device
		return nil
	})
	return err
}

func (a *Accounts) freeName(ctx context.Context, device string) error {
	_, err := a.names.Update(ctx, theNames, func(names *map[string]string) error {
		dropName(*names, device)
		return nil
	})
	return err
}

// freeNamesOfRevoked completes revocations that were cut off.
func (a *Accounts) freeNamesOfRevoked(ctx context.Context) error {
	devices, err := a.devices.All(ctx)
	if err != nil {
		return err
	}
	_, err = a.names.Update(ctx, theNames, func(names *map[string]string) error {
		maps.DeleteFunc(*names, func(_, id string) bool { return devices[id].Revoked })
		return nil
	})
	return err
}

func nameOf(names map[string]string, device string) string {
	for name, id := range names {
		if id == device {
			return name
		}
	}
	return ""
}

func dropName(names map[string]string, device string) {
	maps.DeleteFunc(names, func(_, id string) bool { return id == device })
}

// normalName makes a name out of anything, such as a host name: ASCII letters become lower-case, runs of what is neither
// letter nor digit one "-".
func normalName(wished string) string {
	var b strings.Builder
	gap := false
	for i := 0; i < len(wished) && b.Len() < maxName; i++ {
		c := wished[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		if b.Len() < maxName {
			b.WriteByte(c)
		}
	}
	name := strings.TrimSuffix(b.String(), "-")
	if name == "" {
		return "device"
	}
	return name
}

// uniqueName returns the name, or with the smallest number from 2 that makes it unique.
func uniqueName(taken map[string]string, name string) string {
	unique := name
	for n := 2; ; n++ {
		if _, ok := taken[unique]; !ok {
			return unique
		}
		suffix := "-" + strconv.Itoa(n)
		unique = strings.TrimRight(name[:min(len(name), maxName-len(suffix))], "-") + suffix
	}
}

func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
