package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// permute moves options before the arguments of their command, because the flag
// package stops reading options at the first argument:
//
//	add MAGNET --to device:attic   becomes   add --to device:attic -- MAGNET
//
// Everything after "--" is an argument, also when it begins with a hyphen.
func permute(args []string, flags []cli.Flag, commands []*cli.Command) []string {
	var options, rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if strings.HasPrefix(arg, "-") && arg != "-" {
			options = append(options, arg)
			if takesValue(flags, arg) {
				if i++; i == len(args) {
					// Nothing may follow, or it would be taken for the value.
					return options
				}
				options = append(options, args[i])
			}
			continue
		}
		if command := findCommand(commands, arg); command != nil && len(rest) == 0 {
			return append(append(options, arg), permute(args[i+1:], command.Flags, command.Subcommands)...)
		}
		rest = append(rest, arg)
	}
	if len(rest) == 0 {
		return options
	}
	return append(append(options, "--"), rest...)
}

// takesValue reports whether the option's value is the argument after it.
func takesValue(flags []cli.Flag, option string) bool {
	name := strings.TrimLeft(option, "-")
	for _, flag := range flags {
		if _, isSwitch := flag.(*cli.BoolFlag); !isSwitch && slices.Contains(flag.Names(), name) {
			return true
		}
	}
	return false
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}
