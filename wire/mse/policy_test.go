package mse

import (
	"flag"
	"io"
	"testing"
)

func TestPolicyIsAFlag(t *testing.T) {
	for _, c := range []struct {
		args []string
		want Policy
		ok   bool
	}{
		{nil, Prefer, true},
		{[]string{"-encryption=prefer"}, Prefer, true},
		{[]string{"-encryption=require"}, Require, true},
		{[]string{"-encryption=off"}, Off, true},
		{[]string{"-encryption=on"}, Prefer, false},
		{[]string{"-encryption="}, Prefer, false},
		{[]string{"-encryption=Require"}, Prefer, false},
	} {
		var p Policy
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.TextVar(&p, "encryption", Prefer, "")
		if err := flags.Parse(c.args); (err == nil) != c.ok || p != c.want {
			t.Errorf("%v: %v, %v, want %v", c.args, p, err, c.want)
		}
	}
}

func TestPolicyIsReadAsItIsWritten(t *testing.T) {
	for p := range Policy(3) {
		text, err := p.MarshalText()
		if err != nil || string(text) != p.String() {
			t.Errorf("%v is marshalled as %q, %v", p, text, err)
		}
		if got, err := ParsePolicy(string(text)); err != nil || got != p {
			t.Errorf("%q is read as %v, %v", text, got, err)
		}
	}
	if text, err := Policy(3).MarshalText(); err == nil {
		t.Errorf("a policy that does not exist is marshalled as %q", text)
	}
	if got := Policy(3).String(); got != "policy 3" {
		t.Errorf("a policy that does not exist is called %q", got)
	}
}
