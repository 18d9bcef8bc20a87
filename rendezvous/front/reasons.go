package front

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

// reasons logs why something was refused. A flood gets a line a second, after the first twenty. Any goroutine may use it.
type reasons struct {
	log   *slog.Logger
	limit *rate.Limiter

	mu     sync.Mutex
	hidden int // lines left out since the last one
}

func newReasons(log *slog.Logger) *reasons { return &reasons{log: log, limit: rate.NewLimiter(1, 20)} }

// info logs a line if there has not been too much of late.
func (r *reasons) info(msg string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.limit.Allow() {
		r.hidden++
		return
	}
	if r.hidden > 0 {
		args = append(args, "left_out", r.hidden)
		r.hidden = 0
	}
	r.log.Log(context.Background(), slog.LevelInfo, msg, args...)
}
