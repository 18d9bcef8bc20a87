//go:build linux

package programs

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// Usage is what a running program has used so far.
type Usage struct {
	CPU     time.Duration // user and system time
	PeakRSS int64         // bytes of memory that were resident at most
}

// clockTick is the unit of times in /proc/PID/stat (USER_HZ, 100 on every architecture of Linux).
const clockTick = time.Second / 100

// Usage reads what the kernel counts for the program.
func (p *Process) Usage() (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return u, p.fail(err)
	}
	// The fields after the name, which is in parentheses and may contain anything: state is field 3, the times 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var user, system, kilobytes int64
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		return u, p.fail(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return u, p.fail(err)
	}
	_, peak, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(peak), &kilobytes); err != nil {
		return u, p.fail(err)
	}
	return Usage{CPU: time.Duration(user+system) * clockTick, PeakRSS: kilobytes << 10}, nil
}
