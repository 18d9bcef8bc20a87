//go:build race

package udpmux

const raceDetector = true
