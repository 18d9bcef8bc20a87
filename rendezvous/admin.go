package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"simplebit/rendezvous/apiclient"
)

// Invite asks the surrogate that runs with this data folder for an invite. Only
// whoever may open its administration socket can.
func Invite(ctx context.Context, data string) (apiclient.Invite, error) {
	c := apiclient.New(apiclient.Config{Socket: AdminSocket(data)})
	defer c.Close()
	i, err := c.Invite(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return i, fmt.Errorf("no surrogate runs with the data folder %s: start it with `rendezvous serve --data %s`", data, data)
	}
	return i, err
}
