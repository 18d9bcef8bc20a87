//go:build linux

package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// TransmissionCLI is Transmission without its daemon: one torrent per process.
const TransmissionCLI = "transmission-cli"

// SingleConfig says what one torrent's client does.
type SingleConfig struct {
	Config
	Torrent   string // file
	Downloads string // folder, made if it is not there
}

func (c SingleConfig) prepared() (SingleConfig, string, error) {
	var err error
	if c.Config, err = c.Config.prepared(); err != nil {
		return c, "", err
	}
	if err := os.MkdirAll(c.Downloads, 0o755); err != nil {
		return c, "", err
	}
	hook, err := writeHook(c.Dir)
	return c, hook, err
}

// StartAria2Single starts aria2c with one torrent and no control interface; its event is Complete.
func StartAria2Single(ctx context.Context, c SingleConfig) (*Driver, error) {
	c, hook, err := c.prepared()
	if err != nil {
		return nil, fmt.Errorf("programs: configure aria2c: %w", err)
	}
	return StartDriver(ctx, DriverConfig{Host: c.Host, Dir: c.Dir, Program: Aria2c, Args: []string{
		"--no-conf", "--dir=" + c.Downloads, "--listen-port=" + strconv.Itoa(int(c.Port)), "--on-bt-download-complete=" + hook,
		"--enable-dht=false", "--enable-dht6=false", "--enable-peer-exchange=" + strconv.FormatBool(c.PEX), "--bt-enable-lpd=false",
		"--seed-ratio=0.0", "--file-allocation=none",
		"--console-log-level=notice", "--show-console-readout=false", "--summary-interval=0", "--enable-color=false", c.Torrent,
	}})
}

// StartTransmissionSingle starts transmission-cli with one torrent; its event is Complete.
func StartTransmissionSingle(ctx context.Context, c SingleConfig) (*Driver, error) {
	c, hook, err := c.prepared()
	if err != nil {
		return nil, fmt.Errorf("programs: configure transmission-cli: %w", err)
	}
	settings, err := json.Marshal(map[string]any{
		"utp-enabled": c.UTP, "dht-enabled": false, "lpd-enabled": false, "pex-enabled": c.PEX, "port-forwarding-enabled": false,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, "settings.json"), settings, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("programs: configure transmission-cli: %w", err)
	}
	return StartDriver(ctx, DriverConfig{Host: c.Host, Dir: c.Dir, Program: TransmissionCLI, Args: []string{
		"--config-dir", c.Dir, "--download-dir", c.Downloads, "--port", strconv.Itoa(int(c.Port)),
		"--no-portmap", "--encryption-tolerated", "--finish", hook, c.Torrent,
	}})
}
