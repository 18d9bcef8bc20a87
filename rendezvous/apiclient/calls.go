package apiclient

import (
	"context"
	"net/http"
	"net/url"
)

// Add asks for a job and returns it as stored. Before the surrogate is asked, the
// size of the request is checked against MaxBody.
func (c *Client) Add(ctx context.Context, job NewJob) (Job, error) {
	return fetch[Job](ctx, c, http.MethodPost, "/jobs", job)
}

// Jobs returns all jobs, in the surrogate's order.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	return fetch[[]Job](ctx, c, http.MethodGet, "/jobs", nil)
}

// Job returns one job. The refusal's status is 404 when there is none of that id.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return fetch[Job](ctx, c, http.MethodGet, jobPath(id), nil)
}

// Pause stops a job's traffic and keeps what it has. Pausing twice changes nothing.
func (c *Client) Pause(ctx context.Context, id string) (Job, error) {
	return c.order(ctx, id, "pause")
}

// Resume lets a paused job go on, also one that an error paused.
func (c *Client) Resume(ctx context.Context, id string) (Job, error) {
	return c.order(ctx, id, "resume")
}

// Verify has the device hash everything it holds of the job again.
func (c *Client) Verify(ctx context.Context, id string) (Job, error) {
	return c.order(ctx, id, "verify")
}

// Remove ends a job. With deleteData the device deletes the files too, otherwise
// it leaves them where they are.
func (c *Client) Remove(ctx context.Context, id string, deleteData bool) error {
	path := jobPath(id)
	if deleteData {
		path += "?data=true"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Devices returns all devices that have joined, the revoked ones too.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	return fetch[[]Device](ctx, c, http.MethodGet, "/devices", nil)
}

// Device returns the device of that name or id. The refusal's status is 404 when there is none.
func (c *Client) Device(ctx context.Context, nameOrID string) (Device, error) {
	return fetch[Device](ctx, c, http.MethodGet, devicePath(nameOrID), nil)
}

// RenameDevice gives the device of that name or id a new name.
func (c *Client) RenameDevice(ctx context.Context, nameOrID, newName string) (Device, error) {
	return fetch[Device](ctx, c, http.MethodPatch, devicePath(nameOrID), Rename{Name: newName})
}

// RevokeDevice cuts off the device of that name or id at once and for good.
func (c *Client) RevokeDevice(ctx context.Context, nameOrID string) error {
	return c.call(ctx, http.MethodDelete, devicePath(nameOrID), nil, nil)
}

// Invite makes an invite for one new device.
func (c *Client) Invite(ctx context.Context) (Invite, error) {
	return fetch[Invite](ctx, c, http.MethodPost, "/invites", nil)
}

func (c *Client) order(ctx context.Context, id, what string) (Job, error) {
	return fetch[Job](ctx, c, http.MethodPost, jobPath(id)+"/"+what, nil)
}

// fetch is call with the answer as its result.
func fetch[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var reply T
	err := c.call(ctx, method, path, body, &reply)
	return reply, err
}

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }

func devicePath(nameOrID string) string { return "/devices/" + url.PathEscape(nameOrID) }
