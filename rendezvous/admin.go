package rendezvous

import (
	"context"

	"simplebit/rendezvous/apiclient"
)

// Invite asks the surrogate that runs with this data folder for an invite. Only
// whoever may open its administration socket can.
func Invite(ctx context.Context, data string) (apiclient.Invite, error) {
	return apiclient.New(apiclient.Config{Socket: AdminSocket(data)}).Invite(ctx)
}
