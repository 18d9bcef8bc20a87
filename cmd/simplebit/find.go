package main

import (
	"fmt"
	"strings"

	"simplebit/rendezvous/apiclient"
)

// findJob returns the one job that text means: by id, info-hash or name, or by the
// beginning of an id or a name when only one job has it. A whole match goes before
// a beginning, and an id before a name.
func findJob(jobs []apiclient.Job, text string) (apiclient.Job, error) {
	for _, matches := range []func(apiclient.Job) bool{
		func(j apiclient.Job) bool { return j.ID == text },
		func(j apiclient.Job) bool { return j.Name == text },
		func(j apiclient.Job) bool { return strings.EqualFold(j.InfoHash, text) },
		func(j apiclient.Job) bool { return strings.HasPrefix(j.ID, text) || strings.HasPrefix(j.Name, text) },
	} {
		var found []apiclient.Job
		for _, j := range jobs {
			if matches(j) {
				found = append(found, j)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return apiclient.Job{}, fmt.Errorf("%q means %d jobs: %s; give one's id", text, len(found), listJobs(found))
		}
	}
	return apiclient.Job{}, fmt.Errorf("there is no job %q; `simplebit ls` lists them", text)
}

// listJobs names the first jobs in a sentence.
func listJobs(jobs []apiclient.Job) string {
	const most = 3
	var names []string
	for _, j := range jobs[:min(len(jobs), most)] {
		names = append(names, fmt.Sprintf("%s (%s)", j.ID, cut(formatName(j), 40)))
	}
	if len(jobs) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// onlyDevice returns the device that is meant when none was named.
func onlyDevice(devices []apiclient.Device) (apiclient.Device, error) {
	var names []string
	var only apiclient.Device
	for _, d := range devices {
		if !d.Revoked {
			names, only = append(names, "device:"+d.Name), d
		}
	}
	switch len(names) {
	case 0:
		return only, fmt.Errorf("no device has joined: run `simplebit invite`, and `edgeagent join` on the device")
	case 1:
		return only, nil
	}
	return only, usagef("--to is missing: give one of %s", strings.Join(names, ", "))
}
