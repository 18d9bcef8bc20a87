package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"simplebit/rendezvous/store"
)

const (
	inviteLife = 15 * time.Minute
	// invitePast is how long an expired invite is kept: so long its holder is told that it expired.
	invitePast = 24 * time.Hour
	// inviteTries is how many wrong secrets make an invite void.
	inviteTries = 5

	inviteIDLength     = 8  // base32: 40 bits, to find it by
	inviteSecretLength = 26 // base32: 130 bits
)

// Invite is permission for one device to enrol, to be handed to whoever sets it up. It is not stored: the token cannot be
// shown again.
type Invite struct {
	// Token is the secret: 8 characters of base32 to find the invite by, ".", 26 more that prove it. Case does not matter.
	Token string
	// Expires is when it can no longer be presented for the first time.
	Expires time.Time
}

// inviteRecord is kept under the invite's id.
type inviteRecord struct {
	Hash    string    `json:"hash"` // SHA-256 of the token in hex; it needs no salt, being of a random 130 bits
	Expires time.Time `json:"expires"`
	Wrong   int       `json:"wrong,omitempty"`  // wrong secrets presented
	Device  string    `json:"device,omitempty"` // id of the first device that presented it
}

// Invite makes an invite that is good for 15 minutes from now, and removes those that expired more than a day ago.
func (a *Accounts) Invite(ctx context.Context, now time.Time) (Invite, error) {
	if err := a.purgeInvites(ctx, now); err != nil {
		return Invite{}, err
	}
	for {
		id, secret := strings.ToLower(rand.Text()[:inviteIDLength]), strings.ToLower(rand.Text()[:inviteSecretLength])
		token := id + "." + secret
		r := inviteRecord{Hash: hashToken(token), Expires: now.UTC().Round(0).Add(inviteLife)}
		err := a.invites.Create(ctx, id, r)
		if errors.Is(err, store.ErrExists) {
			continue // one in 2^40
		}
		return Invite{Token: token, Expires: r.Expires}, err
	}
}

func (a *Accounts) purgeInvites(ctx context.Context, now time.Time) error {
	all, err := a.invites.All(ctx)
	if err != nil {
		return err
	}
	for id, r := range all {
		if now.After(r.Expires.Add(invitePast)) {
			if err := a.invites.Delete(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// redeem binds the token's invite to the device. The device it is bound to may repeat it at any time.
func (a *Accounts) redeem(ctx context.Context, now time.Time, device, token string) error {
	token, id, ok := parseToken(token)
	if !ok {
		return ErrInviteUnknown
	}
	var verdict error
	_, err := a.invites.Update(ctx, id, func(r *inviteRecord) error {
		verdict = r.present(now, device, token)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return ErrInviteUnknown
	}
	if err != nil {
		return fmt.Errorf("checking an invite: %w", err)
	}
	return verdict
}

// present decides about one presentation of a token and notes what has to be remembered of it.
func (r *inviteRecord) present(now time.Time, device, token string) error {
	right := subtle.ConstantTimeCompare([]byte(r.Hash), []byte(hashToken(token))) == 1
	switch {
	case right && r.Device == device:
		return nil
	case r.Wrong >= inviteTries:
		return ErrInviteUnknown
	case !right:
		r.Wrong++
		return ErrInviteUnknown
	case r.Device != "":
		return ErrInviteUsed
	case !now.Before(r.Expires):
		return ErrInviteExpired
	default:
		r.Device = device
		return nil
	}
}

// parseToken returns the token in the spelling that was hashed, and the invite's id in it.
func parseToken(token string) (clean, id string, ok bool) {
	const length = inviteIDLength + 1 + inviteSecretLength
	token = strings.TrimSpace(token)
	if len(token) != length || token[inviteIDLength] != '.' {
		return "", "", false
	}
	token = strings.ToLower(token)
	if len(token) != length || !isBase32(token[:inviteIDLength]) || !isBase32(token[inviteIDLength+1:]) {
		return "", "", false
	}
	return token, token[:inviteIDLength], true
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func isBase32(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
