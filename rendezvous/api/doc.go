// Package api serves the surrogate's HTTP API.
//
// Under /api/v1 lie jobs, devices and invites, described by the OpenAPI 3.1
// document at /api/v1/openapi.json, which is generated from the code; /healthz
// says that the process runs and /readyz whether it can work. Every answer is
// JSON, and every refusal is {"error": "one line"} with a fitting status; only
// /metrics answers in Prometheus' text format.
//
// Everything under /api/v1 but the document needs a bearer token, and so does
// /metrics: behind a proxy every request comes from this machine, so where it
// comes from admits nobody. The same API without a token is for a unix socket
// whose file permissions admit the administrator (Config.Local). Browsers of other
// sites are refused: there is no CORS, and unsafe cross-origin requests get 403.
//
// The package decides nothing about jobs: it checks the form of what comes in,
// hands it to the interfaces that it declares, and turns their errors into
// statuses. Connection timeouts and header limits are the http.Server's.
package api
