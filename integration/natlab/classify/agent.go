//go:build linux

package classify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"simplebit/integration/natlab"
	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/udpmux"
)

// taskEnv makes the program a device of a lab: it holds the task, as JSON.
const taskEnv = "CLASSIFY_DEVICE"

// foundNothing is the exit status of a device that failed, and neither panicked nor was killed.
const foundNothing = 1

// task is what the device is to do.
type task struct {
	Servers []netip.AddrPort
	Own     []netip.Addr
}

// Enter is natlab.Enter for programs that call Table, which runs the program once more on a device of each lab: a namespace
// belongs to a thread, and our agent opens sockets on any. It must be the first thing that main or TestMain does.
func Enter() {
	text, ok := os.LookupEnv(taskEnv)
	if !ok {
		natlab.Enter()
		return
	}
	if err := device(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(foundNothing)
	}
	os.Exit(0)
}

// device finds out what it sits behind as our agent does, and prints it.
func device(text string) error {
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		return err
	}
	main, err := udpmux.Listen("udp", ":0", udpmux.Config{})
	if err != nil {
		return err
	}
	defer main.Close()
	set := udpmux.NewSet(main)
	d := discovery.New(set)
	set.Handle(udpmux.STUN, d.Receive)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go main.Run(ctx)
	var found *nat.Behaviour
	_, err = d.Discover(ctx, discovery.Config{Servers: do.Servers, Own: do.Own}, func(r discovery.Result) {
		found = &r.Behaviour
		stop() // the lifetime would take minutes
	})
	if found == nil {
		return errors.Join(errors.New("nothing found out"), err)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// agent has our agent's discovery run on the device.
func (s *scene) agent(ctx context.Context, u *surrogate) (v Verdict, err error) {
	text, err := json.Marshal(task{u.at, []netip.Addr{s.address(s.device)}})
	if err != nil {
		return v, err
	}
	self, err := os.Executable()
	if err != nil {
		return v, err
	}
	cmd := s.device.Command(ctx, self)
	cmd.Env = append(os.Environ(), taskEnv+"="+string(text))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		exit := new(exec.ExitError)
		lost := errors.As(err, &exit) && exit.ExitCode() == foundNothing
		err = fmt.Errorf("our agent's discovery: %w: %s", err, strings.Join(strings.Fields(said.String()), " "))
		if lost {
			err = silent(ourAgent, err)
		}
		return v, err
	}
	return v, json.Unmarshal(out, &v.Behaviour)
}
