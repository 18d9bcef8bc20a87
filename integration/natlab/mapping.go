//go:build linux

package natlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mappingWait bounds how long miniupnpd may take to answer.
const mappingWait = 30 * time.Second

// portPMP is where it does, last of all its ports: 5351, as /proc/net/udp writes it.
const portPMP = ":14E7 "

// daemon is a program that a machine needs for its part.
type daemon struct {
	cmd     *exec.Cmd
	pidFile string
	said    bytes.Buffer
	ended   chan struct{} // closed when it has, and said is whole
}

// stop ends the program and removes what it left. It may be called again.
func (d *daemon) stop() error {
	d.cmd.Process.Kill()
	<-d.ended
	if err := os.Remove(d.pidFile); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// startMapping runs miniupnpd on the router, with empty chains to fill, until it can be asked.
func (g *gateway) startMapping() error {
	if _, err := lookTool(toolMap); err != nil {
		return errNoMap
	}
	rules, err := fill("mapping.nft", "", nil)
	if err == nil {
		err = g.load(g.near.ns, replaceTable("inet", "miniupnpd")+rules)
	}
	if err != nil {
		return err
	}
	config, err := fill("miniupnpd.conf", "", g.rules)
	if err != nil {
		return err
	}
	// It needs a pid file, and deletes it in the end, whatever it is: no device file may serve as one.
	d := &daemon{pidFile: "/run/" + filepath.Base(g.near.ns.path) + ".pid", ended: make(chan struct{})}
	d.cmd = g.Command(context.Background(), toolMap, "-d", "-f", "/dev/stdin", "-P", d.pidFile)
	d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = strings.NewReader(config), &d.said, &d.said
	if err := d.cmd.Start(); err != nil {
		return err
	}
	go func() {
		d.cmd.Wait()
		close(d.ended)
	}()
	g.daemon = d
	return g.awaitMapping()
}

// awaitMapping waits until miniupnpd has opened its ports.
func (g *gateway) awaitMapping() error {
	for deadline := time.Now().Add(mappingWait); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var sockets []byte
		err := g.near.ns.do(func() (err error) {
			sockets, err = os.ReadFile("/proc/thread-self/net/udp")
			return err
		})
		if err != nil || bytes.Contains(sockets, []byte(portPMP)) {
			return err
		}
		select {
		case <-g.daemon.ended:
			return fmt.Errorf("%s ended: %s", toolMap, strings.Join(strings.Fields(g.daemon.said.String()), " "))
		default:
		}
	}
	return errors.Join(fmt.Errorf("%s does not listen after %v", toolMap, mappingWait), g.daemon.stop())
}

// restartMapping does what a reboot does to the ports that were opened on request.
func (g *gateway) restartMapping() error {
	if g.daemon == nil {
		return nil
	}
	if err := g.daemon.stop(); err != nil {
		return err
	}
	return g.startMapping()
}
