//go:build linux

// Command demo shows the main job in networks of its own: a surrogate and two
// homes behind NATs, with an agent in each. One has the content, the other gets
// it by a magnet over a path that is punched through both NATs, and every file is
// compared. It needs no internet and no root, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

func main() {
	install := flag.Bool("install", os.Geteuid() == 0, "install missing programs with apt-get")
	bin := flag.String("bin", "bin", "folder of our binaries")
	flag.Parse()
	if os.Getenv(ready) == "" {
		if err := prepare(*install); err != nil {
			fmt.Fprintln(os.Stderr, "demo:", err)
			os.Exit(1)
		}
	}
	natlab.Enter()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, *bin)
	switch {
	case ctx.Err() != nil:
		fmt.Println("\ninterrupted; everything was cleaned up")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// ready tells the process inside the namespaces that the machine was prepared.
const ready = "SIMPLEBIT_DEMO_READY"

// prepare makes sure that the machine has what the demo runs.
func prepare(install bool) error {
	needs := []string{"ip", "nsenter", programs.Nft}
	err := programs.Missing(needs...)
	if err != nil && install {
		args := []string{"install", "-y", "-qq", "--no-install-recommends", "iproute2", "util-linux", "nftables"}
		fmt.Println("installing nftables and iproute2 with apt-get")
		for _, a := range [][]string{{"update", "-qq"}, args} {
			cmd := exec.Command("apt-get", a...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w: %s", a[0], err, out)
			}
		}
		err = programs.Missing(needs...)
	}
	return errors.Join(err, natlab.Available(), os.Setenv(ready, "1"))
}
