//go:build race

package udpmux

// raceDetector: memory is measured without it.
const raceDetector = true
