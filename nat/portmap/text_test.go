package portmap

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var testGateway = netip.MustParseAddr("192.168.1.1")

// The description of a gateway, with what is seen in the wild: a namespace, comments, CDATA, an entity, white space.
const testDescription = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>A &amp; B <!-- <service> --></friendlyName>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3f</controlURL></service></serviceList>
<deviceList><device><deviceList><device><u:serviceList xmlns:u="x>y">
 <service><serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType><controlURL>ctl/ppp</controlURL></service>
 <u:service><serviceType>
   urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><eventSubURL/><controlURL><![CDATA[/ctl?a=1&b=2]]></controlURL></u:service>
 <service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>http://192.168.1.1:99/x&amp;y</controlURL></service>
</u:serviceList></device></deviceList></device></deviceList></device></root>`

func TestDescriptionsListServices(t *testing.T) {
	got, err := parseDescription([]byte(testDescription), testGateway, place{5000, "/dir/root.xml"})
	want := []wanService{{1, place{5000, "/ctl?a=1&b=2"}}, {1, place{99, "/x&y"}}, {2, place{5000, "/dir/ctl/ppp"}}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
}

// service is a description with one service.
func service(base, control string) string {
	return "<root>" + base + "<service><serviceType>" + wanServices[1] + "</serviceType><controlURL>" + control + "</controlURL></service></root>"
}

func TestURLBaseCounts(t *testing.T) {
	got, err := parseDescription([]byte(service("<URLBase>http://192.168.1.1:77/b/</URLBase>", "c")), testGateway, place{5000, "/root.xml"})
	if want := (wanService{1, place{77, "/b/c"}}); err != nil || !slices.Equal(got, []wanService{want}) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
}

func TestServicesElsewhereAreLeftOut(t *testing.T) {
	for _, d := range []string{
		"", "<", "<root", "not XML at all", "<root></root>", "<service>", testDescription[:200],
		service("", "http://192.168.1.2/ctl"),
		service("", "http://192.168.1.1.example.com/ctl"),
		service("", "http://192.168.1.1@198.18.1.1/ctl"),
		service("", "//198.18.1.1/ctl"),
		service("", "https://192.168.1.1/ctl"),
		service("", "http://router/ctl"),
		service("", "http://192.168.1.1:0/ctl"),
		service("", "http://192.168.1.1:99999/ctl"),
		service("", "/ctl HTTP/1.1&#13;&#10;Host: evil"),
		service("", "/"+strings.Repeat("a", mostText)),
		service("", ""),
		// A document type with entities: they are not resolved.
		`<!DOCTYPE r [<!ENTITY a "/aaaa"><!ENTITY b "&a;&a;">]>` + service("", "&b; &b;"),
	} {
		if got, err := parseDescription([]byte(d), testGateway, place{5000, "/root.xml"}); err == nil {
			t.Errorf("%.100q lists %v", d, got)
		}
	}
	got, err := parseDescription([]byte(service("<URLBase>http://198.18.1.1/</URLBase>", "/c")), testGateway, place{5000, "/root.xml"})
	if want := (wanService{1, place{5000, "/c"}}); err != nil || !slices.Equal(got, []wanService{want}) {
		t.Errorf("a base elsewhere: %v %v, want %v", got, err, want)
	}
}

func TestServicesAreBounded(t *testing.T) {
	got, err := parseDescription([]byte(strings.Repeat(service("", "/ctl"), 400)), testGateway, place{5000, "/"})
	if err != nil || len(got) > mostServices {
		t.Errorf("%d services, %v", len(got), err)
	}
}

func TestSOAPAnswersAndRefusals(t *testing.T) {
	address := `<s:Envelope><s:Body><u:GetExternalIPAddressResponse xmlns:u="x"><NewExternalIPAddress>198.18.1.2</NewExternalIPAddress></u:x></s:Body></s:Envelope>`
	if got, err := parseSOAP(200, []byte(address), "NewExternalIPAddress"); err != nil || got != "198.18.1.2" {
		t.Errorf("%q %v", got, err)
	}
	refused := `<s:Envelope><s:Body><s:Fault><faultcode>s:Client</faultcode><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">` +
		`<errorCode>718</errorCode><errorDescription>Conflict` + "\x1b[2J" + `</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`
	_, err := parseSOAP(500, []byte(refused), "")
	var e *resultError
	if !errors.As(err, &e) || e.code != upnpConflict || e.text != "Conflict?[2J" {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		status int
		body   string
	}{{500, address}, {302, ""}, {404, "<html>no</html>"}, {200, "<a>"}, {200, ""}, {200, "<NewExternalIPAddress>1.2.3.4"}} {
		if got, err := parseSOAP(c.status, []byte(c.body), "NewExternalIPAddress"); err == nil {
			t.Errorf("%d %q is %q", c.status, c.body, got)
		}
	}
}

func TestXMLIsReadAsFarAsItMakesSense(t *testing.T) {
	x := xmlReader{rest: []byte(`<?xml?><a:b c='>'>x&lt;&#65;&#x42;&nbsp;&#0;&<d/><![CDATA[<&amp;]]></b><!-- <e> --><f`)}
	var got []string
	for {
		kind, text := x.next()
		if kind == xmlNothing {
			break
		}
		if kind == xmlText {
			text = appendUnescaped(nil, text)
		}
		got = append(got, string("?SETC"[kind])+string(text))
	}
	want := []string{"Sb", "Tx<AB&nbsp;&#0;&", "Sd", "Ed", "C<&amp;", "Eb", "Sf"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSearchesAndTheirAnswers(t *testing.T) {
	// UPnP Device Architecture 1.1, section 1.3.2.
	want := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + gatewayDevice1 + "\r\n\r\n"
	if got := string(msearch(gatewayDevice1, true)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	answer := "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nst:  " + gatewayDevice1 + "\r\nLocation: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
	if got, err := parseSSDP([]byte(answer)); err != nil || got != "http://192.168.1.1:5000/rootDesc.xml" {
		t.Errorf("%q %v", got, err)
	}
	for _, s := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", strings.Replace(answer, "200", "404", 1), strings.Replace(answer, "InternetGatewayDevice", "MediaServer", 1),
		strings.Replace(answer, "Location", "Nowhere", 1), strings.Replace(answer, "HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1", 1),
	} {
		if got, err := parseSSDP([]byte(s)); err == nil {
			t.Errorf("%q is at %q", s, got)
		}
	}
}

func TestResponsesOfWebServers(t *testing.T) {
	for _, c := range []struct{ name, response, want string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more", "hello"},
		{"to the end", "HTTP/1.0 200\r\n\r\nhello", "hello"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello"},
		{"after 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length:5\n\nhello", "hello"},
	} {
		status, body, err := readResponse(iotest.OneByteReader(strings.NewReader(c.response)))
		if err != nil || status != 200 || string(body) != c.want {
			t.Errorf("%s: %d %q %v", c.name, status, body, err)
		}
	}
}

// endless repeats itself, and counts what is read of it.
type endless struct {
	text string
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.text[(e.read+i)%len(e.text)]
	}
	e.read += len(b)
	return len(b), nil
}

func TestHostileWebServersAreCutShort(t *testing.T) {
	for _, c := range []struct{ name, begin, forever string }{
		{"status line", "", "H"},
		{"header", "HTTP/1.1 200 OK\r\nA: ", "a"},
		{"headers", "HTTP/1.1 200 OK\r\n", "A: b\r\n"},
		{"interim responses", "", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"body", "HTTP/1.1 200 OK\r\n\r\n", "<a>"},
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "<a>"},
		{"length beyond numbers", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "<a>"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "<a>"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "<a>"},
		{"chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "<a>"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"},
		{"chunk's length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0x"},
		{"compressed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "0x"},
		{"zeros", "", "\x00"},
		{"another protocol", "SSH-2.0-OpenSSH\r\n", "\r\n"},
	} {
		e := &endless{text: c.forever}
		_, body, err := readResponse(io.MultiReader(strings.NewReader(c.begin), e))
		if err == nil || body != nil && len(body) > mostBody+1 {
			t.Errorf("%s: taken, %d bytes", c.name, len(body))
		}
		if e.read > 512<<10 {
			t.Errorf("%s: read %d bytes", c.name, e.read)
		}
	}
	for _, s := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell"} {
		if _, _, err := readResponse(strings.NewReader(s)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(testDescription))
	f.Add([]byte(service("<URLBase>http://192.168.1.1:77/b/</URLBase>", "c")))
	f.Add([]byte(`<s:Fault><errorCode>718</errorCode><errorDescription>&#x41;&lt;</errorDescription>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		services, err := parseDescription(b, testGateway, place{5000, "/root.xml"})
		if (err == nil) != (len(services) > 0) || len(services) > mostServices {
			t.Errorf("%v %v", services, err)
		}
		for _, s := range services {
			if strings.ContainsAny(s.control.path, " \r\n") || s.control.port == 0 || s.control.path[0] != '/' {
				t.Errorf("%+v", s)
			}
		}
		if value, _ := parseSOAP(200, b, "NewExternalIPAddress"); len(value) > mostText {
			t.Errorf("%d bytes", len(value))
		}
		parseSOAP(500, b, "")
		// Every step takes something: as many as there are bytes, and an end for each self-closing one.
		x, steps := (xmlReader{rest: b}), 0
		for kind, _ := x.next(); kind != xmlNothing; kind, _ = x.next() {
			if steps++; steps > 2*len(b) {
				t.Fatal("it does not end")
			}
		}
	})
}

func FuzzSSDP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://192.168.1.1:5000/a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		location, err := parseSSDP(b)
		if err != nil {
			return
		}
		at, err := (place{}).resolve(testGateway, location)
		if err == nil && (at.port == 0 || at.path[0] != '/' || strings.ContainsAny(at.path, " \r\n\x00") || len(at.path) > mostText) {
			t.Errorf("%q is %+v", location, at)
		}
	})
}

func FuzzHTTP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length:5\n\nhello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, body, err := readResponse(strings.NewReader(string(b)))
		if err == nil && (status < 200 || len(body) > mostBody || len(body) > len(b)) {
			t.Errorf("%d, %d bytes", status, len(body))
		}
	})
}
