package dht

import (
	"log/slog"

	alog "github.com/anacrolix/log"
)

// libraryLog hands on what the library logs.
type libraryLog struct {
	log *slog.Logger
}

// Handle is called by the library's logger, from any goroutine.
func (l libraryLog) Handle(r alog.Record) { l.log.Debug("DHT library", "said", r.Msg.String()) }

// libraryLogger returns a logger for the library: its warnings are for us at debug, and the rest is for nobody.
func libraryLogger(log *slog.Logger) alog.Logger {
	l := alog.NewLogger()
	l.SetHandlers(libraryLog{log})
	return l.WithFilterLevel(alog.Warning)
}
