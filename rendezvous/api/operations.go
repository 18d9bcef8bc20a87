package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"simplebit/rendezvous/apiclient"
)

// Limits of request bodies. Reading a body has a deadline of its own, in place of
// the http.Server's, because a torrent over a slow line needs minutes.
const (
	smallBody    = 4 << 10
	smallTimeout = 10 * time.Second
	// choiceBody fits the indexes of all files of the largest torrent.
	choiceBody   = 2 << 20
	largeTimeout = 6 * time.Minute
)

// operations are the API's described operations.
type operations struct{ Config }

type none struct{}

type body[T any] struct{ Body T }

type list[T any] struct {
	Body []T `nullable:"false"`
}

type jobInput struct {
	ID string `path:"id" maxLength:"256" doc:"the job's id" example:"k3jx7m2q"`
}

type removeInput struct {
	ID   string `path:"id" maxLength:"256" doc:"the job's id" example:"k3jx7m2q"`
	Data bool   `query:"data" doc:"delete the files on the device too"`
}

type deviceInput struct {
	ID string `path:"id" maxLength:"256" doc:"the device's name or id" example:"attic"`
}

type renameInput struct {
	ID   string `path:"id" maxLength:"256" doc:"the device's name or id" example:"attic"`
	Body apiclient.Rename
}

type optionsInput struct {
	ID   string `path:"id" maxLength:"256" doc:"the job's id" example:"k3jx7m2q"`
	Body apiclient.OptionsChange
}

type choicesInput struct {
	ID   string `path:"id" maxLength:"256" doc:"the job's id" example:"k3jx7m2q"`
	Body apiclient.Choices
}

// describe registers every operation with mux and returns the OpenAPI document.
func describe(mux *http.ServeMux, o operations) []byte {
	a := humago.NewWithPrefix(mux, prefix, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "SimpleBit surrogate",
				Version:     "1",
				Description: "Jobs, devices and invites of a SimpleBit surrogate. Sizes are bytes, rates bytes per second.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer"},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		// "json" stands for every type that ends in +json; huma chooses one for refusals.
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{plainErrors},
	})
	o.registerJobs(a)
	o.registerOptions(a)
	o.registerDevices(a)
	// Problem documents are never sent; see plainErrors.
	schemas := a.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	document, err := json.Marshal(a.OpenAPI())
	if err != nil {
		panic("api: the OpenAPI document cannot be encoded: " + err.Error())
	}
	return document
}

func (o operations) registerJobs(a huma.API) {
	register(a, o, huma.Operation{
		OperationID: "add-job", Method: http.MethodPost, Path: "/jobs", Tags: []string{"jobs"}, DefaultStatus: http.StatusCreated,
		Summary:      "Add a job",
		Description:  "Exactly one of magnet and torrent is given. The job is stored before the answer.",
		MaxBodyBytes: apiclient.MaxBody, BodyReadTimeout: largeTimeout,
	}, func(ctx context.Context, in *body[apiclient.NewJob]) (*body[apiclient.Job], error) {
		if refusal := checkNewJob(in.Body); refusal != "" {
			return nil, &statusError{http.StatusUnprocessableEntity, refusal}
		}
		return wrapJob(o.Jobs.Add(ctx, in.Body))
	})
	register(a, o, huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Tags: []string{"jobs"}, Summary: "List all jobs",
	}, func(ctx context.Context, _ *none) (*list[apiclient.Job], error) {
		jobs, err := o.Jobs.List(ctx)
		out := &list[apiclient.Job]{Body: make([]apiclient.Job, len(jobs))}
		for i, job := range jobs {
			out.Body[i] = withLists(job)
		}
		return out, err
	})
	register(a, o, huma.Operation{
		OperationID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Tags: []string{"jobs"}, Summary: "Show a job",
	}, func(ctx context.Context, in *jobInput) (*body[apiclient.Job], error) {
		return wrapJob(o.Jobs.Get(ctx, in.ID))
	})
	register(a, o, huma.Operation{
		OperationID: "remove-job", Method: http.MethodDelete, Path: "/jobs/{id}", Tags: []string{"jobs"}, DefaultStatus: http.StatusNoContent,
		Summary: "Remove a job",
	}, func(ctx context.Context, in *removeInput) (*none, error) {
		return nil, o.Jobs.Remove(ctx, in.ID, in.Data)
	})
	for _, order := range []struct {
		name, summary string
		call          func(ctx context.Context, id string) (apiclient.Job, error)
	}{
		{"pause", "Stop a job's traffic and keep what it has", o.Jobs.Pause},
		{"resume", "Let a paused job go on", o.Jobs.Resume},
		{"verify", "Have the device hash everything it holds of the job again", o.Jobs.Verify},
	} {
		register(a, o, huma.Operation{
			OperationID: order.name + "-job", Method: http.MethodPost, Path: "/jobs/{id}/" + order.name, Tags: []string{"jobs"},
			Summary: order.summary,
		}, func(ctx context.Context, in *jobInput) (*body[apiclient.Job], error) {
			return wrapJob(order.call(ctx, in.ID))
		})
	}
}

func (o operations) registerOptions(a huma.API) {
	register(a, o, huma.Operation{
		OperationID: "set-options", Method: http.MethodPatch, Path: "/jobs/{id}", Tags: []string{"jobs"}, Summary: "Change a job's options",
		Description:  "Options that are not given stay as they are.",
		MaxBodyBytes: smallBody, BodyReadTimeout: smallTimeout,
	}, func(ctx context.Context, in *optionsInput) (*body[apiclient.Job], error) {
		return wrapJob(o.Jobs.SetOptions(ctx, in.ID, in.Body))
	})
	register(a, o, huma.Operation{
		OperationID: "list-files", Method: http.MethodGet, Path: "/jobs/{id}/files", Tags: []string{"jobs"}, Summary: "List a job's files",
		Description: "Refused with 409 while the files are not known.",
	}, func(ctx context.Context, in *jobInput) (*list[apiclient.File], error) {
		files, err := o.Jobs.Files(ctx, in.ID)
		return &list[apiclient.File]{Body: append([]apiclient.File{}, files...)}, err
	})
	register(a, o, huma.Operation{
		OperationID: "choose-files", Method: http.MethodPatch, Path: "/jobs/{id}/files", Tags: []string{"jobs"}, Summary: "Choose a job's files",
		Description: "The choices are applied one after the other, on top of the priorities that the files have. " +
			"Choices by patterns may be made before the files are known.",
		MaxBodyBytes: choiceBody, BodyReadTimeout: largeTimeout,
	}, func(ctx context.Context, in *choicesInput) (*body[apiclient.Job], error) {
		if refusal := checkChoices(in.Body.Choices); refusal != "" {
			return nil, &statusError{http.StatusUnprocessableEntity, refusal}
		}
		return wrapJob(o.Jobs.ChooseFiles(ctx, in.ID, in.Body.Choices))
	})
}

func (o operations) registerDevices(a huma.API) {
	register(a, o, huma.Operation{
		OperationID: "list-devices", Method: http.MethodGet, Path: "/devices", Tags: []string{"devices"}, Summary: "List all devices",
	}, func(ctx context.Context, _ *none) (*list[apiclient.Device], error) {
		devices, err := o.Devices.List(ctx)
		out := &list[apiclient.Device]{Body: make([]apiclient.Device, len(devices))}
		for i, d := range devices {
			out.Body[i] = withCandidates(d)
		}
		return out, err
	})
	register(a, o, huma.Operation{
		OperationID: "get-device", Method: http.MethodGet, Path: "/devices/{id}", Tags: []string{"devices"}, Summary: "Show a device",
	}, func(ctx context.Context, in *deviceInput) (*body[apiclient.Device], error) {
		return wrapDevice(o.Devices.Get(ctx, in.ID))
	})
	register(a, o, huma.Operation{
		OperationID: "rename-device", Method: http.MethodPatch, Path: "/devices/{id}", Tags: []string{"devices"}, Summary: "Rename a device",
		MaxBodyBytes: smallBody, BodyReadTimeout: smallTimeout,
	}, func(ctx context.Context, in *renameInput) (*body[apiclient.Device], error) {
		return wrapDevice(o.Devices.Rename(ctx, in.ID, in.Body.Name))
	})
	register(a, o, huma.Operation{
		OperationID: "revoke-device", Method: http.MethodDelete, Path: "/devices/{id}", Tags: []string{"devices"}, DefaultStatus: http.StatusNoContent,
		Summary: "Revoke a device", Description: "The device is cut off at once and its key is refused for good.",
	}, func(ctx context.Context, in *deviceInput) (*none, error) {
		return nil, o.Devices.Revoke(ctx, in.ID)
	})
	register(a, o, huma.Operation{
		OperationID: "invite-device", Method: http.MethodPost, Path: "/invites", Tags: []string{"devices"}, DefaultStatus: http.StatusCreated,
		Summary: "Make an invite for one new device",
	}, func(ctx context.Context, _ *none) (*body[apiclient.Invite], error) {
		invite, err := o.Invites.Invite(ctx)
		return &body[apiclient.Invite]{Body: invite}, err
	})
}

// register adds one operation whose refusals are apiclient.Error.
func register[I, O any](a huma.API, o operations, op huma.Operation, call func(context.Context, *I) (*O, error)) {
	refusal := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[apiclient.Error](), true, "Error")
	op.Responses = map[string]*huma.Response{"default": {
		Description: "Refused",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: refusal}},
	}}
	huma.Register(a, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := call(ctx, in)
		if refused, ok := err.(*statusError); ok {
			return nil, refused
		}
		if err != nil {
			return nil, explain(ctx, o.Log, op.Summary, err)
		}
		return out, nil
	})
}

// checkNewJob returns what is wrong with the form of a wish, or nothing.
func checkNewJob(job apiclient.NewJob) string {
	device, ok := strings.CutPrefix(job.Target, "device:")
	switch {
	case !ok || device == "":
		return `the target must be "device:" and a device's name, such as device:attic`
	case job.Magnet == "" && len(job.Torrent) == 0:
		return "give a magnet link or a torrent file"
	case job.Magnet != "" && len(job.Torrent) != 0:
		return "give a magnet link or a torrent file, not both"
	}
	return checkChoices(job.Choices)
}

// checkChoices returns what is wrong with the form of choices, or nothing.
func checkChoices(choices []apiclient.Choice) string {
	for _, c := range choices {
		if len(c.Patterns) == 0 && len(c.Files) == 0 {
			return fmt.Sprintf("a choice with the priority %s names no files: give patterns or files", c.Priority)
		}
	}
	return ""
}

func wrapJob(job apiclient.Job, err error) (*body[apiclient.Job], error) {
	return &body[apiclient.Job]{Body: withLists(job)}, err
}

// withLists has empty lists sent as [] and not as null, as the document says.
func withLists(job apiclient.Job) apiclient.Job {
	if job.Peers == nil {
		job.Peers = []apiclient.Peer{}
	}
	if job.Trackers == nil {
		job.Trackers = []apiclient.Tracker{}
	}
	return job
}

func wrapDevice(device apiclient.Device, err error) (*body[apiclient.Device], error) {
	return &body[apiclient.Device]{Body: withCandidates(device)}, err
}

// withCandidates is withLists for a device. It changes nothing that the caller holds.
func withCandidates(device apiclient.Device) apiclient.Device {
	if n := device.Network; n != nil && n.Candidates == nil {
		copied := *n
		copied.Candidates = []apiclient.Candidate{}
		device.Network = &copied
	}
	return device
}
