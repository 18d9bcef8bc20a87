package rendezvous

import (
	"errors"
	"fmt"
	"testing"

	"simplebit/rendezvous/account"
	"simplebit/rendezvous/api"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/store"
)

func TestErrorsKeepTheirSentenceAndGetTheStatusOfTheirKind(t *testing.T) {
	for _, row := range []struct {
		explain func(error) error
		from    error
		to      error // nil: none, the API hides it
	}{
		{apiError, job.ErrNotFound, api.ErrNotFound},
		{apiError, job.ErrConflict, api.ErrConflict},
		{apiError, job.ErrInvalid, api.ErrInvalid},
		{apiError, store.ErrUnreachable, api.ErrUnavailable},
		{apiError, store.ErrFull, api.ErrUnavailable},
		{apiError, store.ErrDamaged, nil},
		{deviceError, account.ErrNotFound, api.ErrNotFound},
		{deviceError, account.ErrNameTaken, api.ErrConflict},
		{deviceError, account.ErrInvalid, api.ErrInvalid},
		{deviceError, store.ErrUnreachable, api.ErrUnavailable},
		{deviceError, store.ErrFull, api.ErrUnavailable},
		// A device that a new job names was looked up first.
		{func(err error) error { return apiError(deviceError(err)) }, store.ErrUnreachable, api.ErrUnavailable},
	} {
		err := fmt.Errorf("writing jobs/a: %w: check it", row.from)
		got := row.explain(err)
		if got.Error() != err.Error() || row.to != nil && !errors.Is(got, row.to) || row.to == nil && got != err {
			t.Errorf("%v became %#v, want %v", err, got, row.to)
		}
	}
	if err := apiError(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
