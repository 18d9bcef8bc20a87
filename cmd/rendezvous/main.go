// Command rendezvous is the surrogate: it does the control work of BitTorrent
// for agents on small devices.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"gopkg.in/yaml.v3"

	"simplebit/rendezvous"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "rendezvous:", err)
		os.Exit(1)
	}
}

func app() *cli.App {
	data := &cli.StringFlag{Name: "data", Usage: "`DIR` for everything durable", Value: rendezvous.DefaultData, EnvVars: []string{"SIMPLEBIT_DATA"}}
	return &cli.App{
		Name: "rendezvous", Usage: "the surrogate: trackers, metadata and devices", Version: version,
		HideHelpCommand: true,
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "run the surrogate until it is interrupted", ArgsUsage: " ", Action: serve, Before: readConfig,
				Flags: []cli.Flag{
					data,
					text("http", "127.0.0.1:8080", "`HOST:PORT` of the HTTP API"),
					text("control", ":4433", "`HOST:PORT` for devices (UDP)"),
					text("peer", ":6881", "`HOST:PORT` announced to trackers"),
					text("public", "", "`HOST` or HOST:PORT at which devices reach this surrogate (default: an address of this machine)"),
					flag("allow-private", "contact private addresses that torrents, trackers and peers name"),
					flag("insecure-http", "serve the API without TLS on an address that others reach"),
					flag("verbose", "log what happens to single peers too"),
					&cli.StringFlag{Name: "config", Usage: "YAML `FILE` with these flags as keys", EnvVars: []string{"SIMPLEBIT_CONFIG"}},
				},
			},
			{
				Name: "invite", Usage: "let one device join: prints what `edgeagent join` wants", ArgsUsage: " ", Action: invite,
				Flags: []cli.Flag{data},
			},
		},
	}
}

func text(name, value, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: value, Usage: usage, EnvVars: []string{variable(name)}}
}

func flag(name, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: usage, EnvVars: []string{variable(name)}}
}

// readConfig sets what neither the command line nor the environment has set.
func readConfig(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("serve takes no argument, got %q", c.Args().First())
	}
	name := c.String("config")
	if name == "" {
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	settings := map[string]string{}
	if err := yaml.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("--config %s: %w", name, err)
	}
	for key, value := range settings {
		if key == "config" || !known(c.Command, key) {
			return fmt.Errorf("--config %s: unknown key %q: the keys are the flags of `rendezvous serve`", name, key)
		}
		if c.IsSet(key) {
			continue
		}
		if err := c.Set(key, value); err != nil {
			return fmt.Errorf("--config %s: %s: %w", name, key, err)
		}
	}
	return nil
}

func known(cmd *cli.Command, key string) bool {
	for _, f := range cmd.Flags {
		if f.Names()[0] == key {
			return true
		}
	}
	return false
}

func serve(c *cli.Context) error {
	level := slog.LevelInfo
	if c.Bool("verbose") {
		level = slog.LevelDebug
	}
	cfg := rendezvous.Config{
		Data: c.String("data"), HTTP: c.String("http"), Control: c.String("control"), Peer: c.String("peer"), Public: c.String("public"),
		AllowPrivate: c.Bool("allow-private"), InsecureHTTP: c.Bool("insecure-http"),
		Software: "SimpleBit " + version,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	return rendezvous.Serve(c.Context, cfg, func(i rendezvous.Info) {
		fmt.Printf("surrogate runs\n  API      http://%s  (token in %s)\n  devices  %s, invited to %s\n", i.HTTP, i.TokenFile, i.Control, i.InviteAddr)
		fmt.Printf("next: `rendezvous invite --data %s`, then `edgeagent join INVITE` on a device\n", cfg.Data)
	})
}

func invite(c *cli.Context) error {
	i, err := rendezvous.Invite(c.Context, c.String("data"))
	if err != nil {
		return err
	}
	fmt.Println(i.URL)
	if term.IsTerminal(int(os.Stdout.Fd())) {
		qrterminal.GenerateHalfBlock(i.URL, qrterminal.L, os.Stdout)
		fmt.Printf("for one device, until %s: `edgeagent join INVITE`\n", i.Expires.Local().Format(time.TimeOnly))
	}
	return nil
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "SIMPLEBIT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
