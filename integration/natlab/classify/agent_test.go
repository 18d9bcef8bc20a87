//go:build linux

package classify

import (
	"context"
	"errors"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestAnAgentThatFindsNothingIsSilentButNotOneThatIsKilled(t *testing.T) {
	t.Parallel()
	s := place{kind: natlab.None}.scene(t)
	var quiet *silentError
	if _, err := s.agent(t.Context(), new(surrogate)); !errors.As(err, &quiet) || quiet.who != ourAgent {
		t.Errorf("without anybody to ask: %v", err)
	}
	u, err := s.serve()
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := s.agent(ctx, u); err == nil || errors.As(err, &quiet) {
		t.Errorf("killed: %v", err)
	}
}
