package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"simplebit/rendezvous/apiclient"
)

// maxLine bounds an error line in bytes: parts of it come from the request.
const maxLine = 500

// statusError is a refusal on its way through huma, which takes the status from it.
type statusError struct {
	status int
	line   string
}

// Error returns the line for the user.
func (e *statusError) Error() string { return e.line }

// GetStatus makes it a huma.StatusError.
func (e *statusError) GetStatus() int { return e.status }

// explain turns an implementation's error into what the user is told.
func explain(ctx context.Context, log *slog.Logger, operation string, err error) error {
	for sentinel, status := range map[error]int{
		ErrNotFound:    http.StatusNotFound,
		ErrConflict:    http.StatusConflict,
		ErrInvalid:     http.StatusUnprocessableEntity,
		ErrUnavailable: http.StatusServiceUnavailable,
	} {
		if errors.Is(err, sentinel) {
			if sentinel == ErrUnavailable {
				log.Warn("api: request cannot be done now", "operation", operation, "err", err)
			}
			// The status says what the sentinel says.
			return &statusError{status, clip(strings.TrimSuffix(err.Error(), ": "+sentinel.Error()))}
		}
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		log.Warn("api: request ended early", "operation", operation, "err", err)
		return &statusError{http.StatusServiceUnavailable, "the surrogate did not manage this in time; try again"}
	}
	log.Error("api: request failed", "operation", operation, "err", err)
	return &statusError{http.StatusInternalServerError,
		fmt.Sprintf("the surrogate failed at %q; its log says why", operation)}
}

// plainErrors is a huma transformer: it turns huma's own refusals, which are
// RFC 9457 problem documents, and ours into apiclient.Error. Doing it here instead of
// replacing huma.NewError keeps this process free of a global setting.
func plainErrors(ctx huma.Context, _ string, v any) (any, error) {
	switch refusal := v.(type) {
	case *statusError:
		return apiclient.Error{Message: refusal.line}, nil
	case *huma.ErrorModel:
		ctx.SetHeader("Content-Type", "application/json")
		return apiclient.Error{Message: problem(refusal)}, nil
	}
	return v, nil
}

// problem puts a problem document into one line. The values it holds are left
// out: they may be the whole request.
func problem(m *huma.ErrorModel) string {
	const most = 3
	var parts []string
	for i, detail := range m.Errors {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(m.Errors)-most))
			break
		}
		if detail.Location == "" {
			parts = append(parts, clip(detail.Message))
		} else {
			parts = append(parts, clip(detail.Location)+": "+clip(detail.Message))
		}
	}
	if len(parts) == 0 {
		return clip(m.Detail)
	}
	return clip("the request is not valid: " + strings.Join(parts, "; "))
}

// clip makes one printable line of at most maxLine bytes out of a text that may
// hold anything.
func clip(s string) string {
	// A character of the result takes at most four bytes of the text.
	if len(s) > 4*maxLine {
		s = s[:4*maxLine]
	}
	// Replaced here and not by the JSON encoder, after the length was checked.
	s = strings.ToValidUTF8(s, string(unicode.ReplacementChar))
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}
