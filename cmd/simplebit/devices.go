package main

import (
	"fmt"

	"github.com/mdp/qrterminal/v3"
	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

func (p *program) devicesCommand() *cli.Command {
	return &cli.Command{
		Name:  "devices",
		Usage: "list the devices that have joined; show, rename or revoke one",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return rejectUnknownCommand(c)
			}
			return p.listDevices(c)
		},
		Description: "NETWORK is what the device sits behind: public, a firewall, an open, moderate,\n" +
			"double or strict NAT, or UDP blocked; `simplebit devices show` says it in full.",
		Subcommands: []*cli.Command{
			{Name: "show", Usage: "show everything about a device and its network", ArgsUsage: "NAME", Action: p.showDevice},
			{Name: "rename", Usage: "give a device a new name", ArgsUsage: "NAME NEW", Action: p.renameDevice},
			{Name: "revoke", Usage: "cut a device off for good", ArgsUsage: "NAME", Action: p.revokeDevice},
		},
	}
}

func (p *program) listDevices(c *cli.Context) error {
	client, err := p.client(c)
	if err != nil {
		return err
	}
	devices, err := client.Devices(c.Context)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(devices)
	}
	if len(devices) == 0 {
		p.notef("no device has joined yet: run `simplebit invite`, and `edgeagent join` on the device")
		return nil
	}
	var rows [][]string
	for _, d := range devices {
		rows = append(rows, []string{clean(d.Name), deviceState(d), clean(d.Addr), networkWord(d), clean(d.Software),
			d.Created.In(p.zone).Format("2006-01-02 15:04"), cut(clean(d.ID), 13)})
	}
	fmt.Fprint(p.stdout, formatTable([]column{{title: "NAME"}, {title: "STATE"}, {title: "ADDRESS"},
		{title: "NETWORK", drop: 1}, {title: "SOFTWARE", elastic: true}, {title: "JOINED", drop: 2}, {title: "ID", drop: 3}}, rows, p.columns()))
	return nil
}

func deviceState(d apiclient.Device) string {
	switch {
	case d.Revoked:
		return "revoked"
	case d.Online:
		return "online"
	}
	return "offline"
}

func (p *program) renameDevice(c *cli.Context) error {
	args, err := arguments(c, "the device's NAME", "the NEW name")
	if err != nil {
		return err
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	device, err := client.RenameDevice(c.Context, args[0], args[1])
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(device)
	}
	fmt.Fprintf(p.stdout, "%s is called %s now\n", clean(args[0]), clean(device.Name))
	return nil
}

func (p *program) revokeDevice(c *cli.Context) error {
	args, err := arguments(c, "the device's NAME")
	if err != nil {
		return err
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	if err := client.RevokeDevice(c.Context, args[0]); err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(map[string]any{"name": args[0], "revoked": true})
	}
	fmt.Fprintf(p.stdout, "%s is revoked: its key is refused from now on\n", clean(args[0]))
	return nil
}

func (p *program) inviteCommand() *cli.Command {
	return &cli.Command{
		Name:  "invite",
		Usage: "print an invite for one new device",
		Description: "The invite goes to standard output, on a terminal as a QR code too. It is a\n" +
			"secret, works once, and is given to `edgeagent join` on the device.",
		Action: p.invite,
	}
}

func (p *program) invite(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	invite, err := client.Invite(c.Context)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(invite)
	}
	fmt.Fprintln(p.stdout, clean(invite.URL))
	if p.width != nil {
		qrterminal.GenerateHalfBlock(invite.URL, qrterminal.L, p.stdout)
	}
	p.notef("for one device, until %s: run `edgeagent join` there and give it this line", invite.Expires.In(p.zone).Format("15:04"))
	return nil
}
