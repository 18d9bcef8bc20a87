// Package apiclient is the surrogate's HTTP API as Go sees it: the JSON types of
// /api/v1 and a client for them.
//
// The types carry the texts and bounds from which rendezvous/api generates the
// OpenAPI document, so there is one description of the API and the two sides
// cannot drift apart. Sizes are bytes, rates are bytes per second, and times are
// RFC 3339.
package apiclient
