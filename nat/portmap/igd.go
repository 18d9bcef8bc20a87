package portmap

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// wanServices are the services that map ports, the preferred ones first.
var wanServices = [...]string{
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
}

// mostServices bounds how many connections of a gateway are tried: one has WAN and ADSL, some list both.
const mostServices = 4

// wanService is one of a gateway's services.
type wanService struct {
	kind    int // in wanServices
	control place
}

var (
	errNoService = errors.New("the gateway's description names no WAN connection of its own")
	errNotSOAP   = errors.New("the gateway does not speak SOAP")
)

// parseDescription finds the services in a device's description (UPnP Device Architecture section 2.3), which was read from
// base. Those elsewhere than on the gateway are left out.
func parseDescription(b []byte, gateway netip.Addr, base place) (services []wanService, err error) {
	var field string
	var value xmlValue
	var kind, control, urlBase string
	type found struct{ kind, control string }
	var all []found
	for x := (xmlReader{rest: b}); ; {
		switch token, text := x.next(); token {
		case xmlStart:
			field, value = string(text), xmlValue{}
			if field == "service" {
				kind, control = "", ""
			}
		case xmlText, xmlCDATA:
			if field == "serviceType" || field == "controlURL" || field == "URLBase" {
				value.add(token, text)
			}
		case xmlEnd:
			switch string(text) {
			case "serviceType":
				kind = value.String()
			case "controlURL":
				control = value.String()
			case "URLBase":
				urlBase = value.String()
			case "service":
				if len(all) < 4*mostServices && control != "" && strings.Contains(kind, ":WAN") {
					all = append(all, found{kind, control})
				}
				kind, control = "", ""
			}
			field = ""
		case xmlNothing:
			if at, err := base.resolve(gateway, urlBase); urlBase != "" && err == nil {
				base = at
			}
			for i, want := range wanServices {
				for _, f := range all {
					at, err := base.resolve(gateway, f.control)
					if f.kind == want && err == nil && len(services) < mostServices {
						services = append(services, wanService{i, at})
					}
				}
			}
			if len(services) == 0 {
				return nil, errNoService
			}
			return services, nil
		}
	}
}

// envelope returns the SOAP body of an action with its arguments, name and value by turns. The values are ours and hold
// nothing that XML would need escaped.
func (s wanService) envelope(action string, arguments ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?>` + "\r\n" + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:` + action + ` xmlns:u="` + wanServices[s.kind] + `">`)
	for i := 0; i+1 < len(arguments); i += 2 {
		b.WriteString("<" + arguments[i] + ">" + arguments[i+1] + "</" + arguments[i] + ">")
	}
	b.WriteString("</u:" + action + "></s:Body></s:Envelope>\r\n")
	return b.String()
}

// addPortMapping is the envelope of AddPortMapping (WANIPConnection section 2.4.16).
func (s wanService) addPortMapping(p Port, external uint16, client netip.Addr, lifetime time.Duration) string {
	return s.envelope("AddPortMapping", "NewRemoteHost", "", "NewExternalPort", decimal(external), "NewProtocol", soapProtocol(p),
		"NewInternalPort", decimal(p.Internal), "NewInternalClient", client.String(), "NewEnabled", "1",
		"NewPortMappingDescription", "SimpleBit", "NewLeaseDuration", strconv.Itoa(int(lifetime/time.Second)))
}

// deletePortMapping is the envelope of DeletePortMapping.
func (s wanService) deletePortMapping(p Port, external uint16) string {
	return s.envelope("DeletePortMapping", "NewRemoteHost", "", "NewExternalPort", decimal(external), "NewProtocol", soapProtocol(p))
}

func decimal(n uint16) string { return strconv.Itoa(int(n)) }

func soapProtocol(p Port) string { return strings.ToUpper(p.Protocol.String()) }

// UPnP errors that something can be done about (WANIPConnection section 2.4.16).
const (
	upnpInvalid       = 402 // arguments
	upnpFailed        = 501
	upnpConflict      = 718 // another device has the external port
	upnpOnlyPermanent = 725 // leases without end only
)

// mayTakePermanent reports whether a lease without end may be granted where one with an end was not: routers that are older
// than the code for it refuse the argument, or fail.
func (e *resultError) mayTakePermanent() bool {
	return e.code == upnpOnlyPermanent || e.code == upnpInvalid || e.code == upnpFailed
}

// parseSOAP reads the answer to an action: the value of one element ("" if the action returns nothing), or what was refused.
func parseSOAP(status int, b []byte, element string) (string, error) {
	if status == 200 && element == "" {
		return "", nil
	}
	var field string
	var value xmlValue
	code, text := 0, ""
	for x := (xmlReader{rest: b}); ; {
		switch token, name := x.next(); token {
		case xmlStart:
			field, value = string(name), xmlValue{}
		case xmlText, xmlCDATA:
			if field == element || field == "errorCode" || field == "errorDescription" {
				value.add(token, name)
			}
		case xmlEnd:
			switch string(name) {
			case element:
				if status == 200 {
					return value.String(), nil
				}
			case "errorCode":
				code, _ = strconv.Atoi(value.String())
			case "errorDescription":
				text = printable(value.String())
			}
			field = ""
		case xmlNothing:
			switch {
			case code != 0:
				return "", &resultError{upnp, code, text}
			case status != 200:
				return "", &resultError{upnp, status, "of HTTP"}
			}
			return "", errNotSOAP
		}
	}
}

// printable keeps a gateway's words harmless in a log and short.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
	return s[:min(len(s), 80)]
}
