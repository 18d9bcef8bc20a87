//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens both ends of a pseudo-terminal: the user's and the program's.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	raw, err := user.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

func TestAShellHasTheTerminalAndGivesItBack(t *testing.T) {
	user, end := terminal(t)
	// Whoever calls natlab reads from the terminal again afterwards.
	cmd := command(t, "/bin/sh", nil, "-c", `"$0" shell --nat cgnat; echo "status $?"; read word; echo "caller reads $word"`, program(t))
	cmd.Env = append(cmd.Env, "SHELL=/bin/bash", "HOME=/nonexistent", "TERM=dumb", "PS1=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	user.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(user)
	var said strings.Builder
	// await reads until a line ends with what.
	await := func(what string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			said.WriteString(line)
			if err != nil {
				t.Fatalf("no %q (%v) in\n%s", what, err, &said)
			}
			// The terminal echoes what is typed, with the quotes that are in it.
			if strings.HasSuffix(strings.TrimSpace(line), what) {
				return
			}
		}
	}
	keys := func(typed string) {
		t.Helper()
		if _, err := user.WriteString(typed); err != nil {
			t.Fatal(err)
		}
	}
	await("exit ends the lab")
	keys("echo at '' $NATLAB_PUBLIC\n")
	await("at  198.18.2.2")
	keys("sh -c 'echo sleeps now; exec sleep 1000'\n")
	await("sleeps now") // in a group of its own by now
	keys("\x03")        // Ctrl-C ends what runs in the shell, and neither the shell nor natlab
	keys("echo interrupted '' $?\n")
	await("interrupted  130")
	keys("exit 6\n")
	await("status 6")
	keys("word\n")
	await("caller reads word")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v after\n%s", err, &said)
	}
}
