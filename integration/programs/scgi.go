//go:build linux

package programs

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"simplebit/integration/natlab"
)

// scgi calls XML-RPC methods over SCGI: a netstring of NUL-separated headers, the document, and a reply like CGI's.
type scgi struct {
	host *natlab.Host
	addr string
}

// xmlValue is an XML-RPC value: a scalar, an array or a structure.
type xmlValue struct {
	I4     *string    `xml:"i4"`
	I8     *string    `xml:"i8"`
	Int    *string    `xml:"int"`
	String string     `xml:"string"`
	Array  []xmlValue `xml:"array>data>value"`
	Struct []struct {
		Name  string   `xml:"name"`
		Value xmlValue `xml:"value"`
	} `xml:"struct>member"`
}

// scalar returns an integer or a string.
func (v xmlValue) scalar() string {
	for _, n := range []*string{v.I4, v.I8, v.Int} {
		if n != nil {
			return *n
		}
	}
	return v.String
}

// call calls a method whose parameters are all strings.
func (s scgi) call(ctx context.Context, method string, params ...string) (xmlValue, error) {
	var doc bytes.Buffer
	fmt.Fprintf(&doc, `<?xml version="1.0"?><methodCall><methodName>%s</methodName><params>`, method)
	for _, p := range params {
		doc.WriteString("<param><value><string>")
		xml.EscapeText(&doc, []byte(p))
		doc.WriteString("</string></value></param>")
	}
	doc.WriteString("</params></methodCall>")
	reply, err := s.roundTrip(ctx, doc.Bytes())
	if err != nil {
		return xmlValue{}, fmt.Errorf("%s: %w", method, err)
	}
	var response struct {
		Params []xmlValue `xml:"params>param>value"`
		Fault  *struct {
			Members []struct {
				Name  string   `xml:"name"`
				Value xmlValue `xml:"value"`
			} `xml:"value>struct>member"`
		} `xml:"fault"`
	}
	if err := xml.Unmarshal(reply, &response); err != nil {
		return xmlValue{}, fmt.Errorf("%s: %w", method, err)
	}
	if response.Fault != nil {
		var said []string
		for _, m := range response.Fault.Members {
			said = append(said, m.Name+" "+m.Value.scalar())
		}
		return xmlValue{}, fmt.Errorf("%s: %s", method, strings.Join(said, ", "))
	}
	if len(response.Params) != 1 {
		return xmlValue{}, fmt.Errorf("%s: %d values in reply, want 1", method, len(response.Params))
	}
	return response.Params[0], nil
}

// roundTrip sends a document and returns the one in the reply.
func (s scgi) roundTrip(ctx context.Context, doc []byte) ([]byte, error) {
	conn, err := s.host.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	header := fmt.Sprintf("CONTENT_LENGTH\x00%d\x00SCGI\x001\x00", len(doc))
	if _, err := fmt.Fprintf(conn, "%d:%s,%s", len(header), header, doc); err != nil {
		return nil, err
	}
	reply, err := io.ReadAll(io.LimitReader(conn, replyLimit))
	if err != nil {
		return nil, err
	}
	_, body, ok := bytes.Cut(reply, []byte("\r\n\r\n"))
	if !ok {
		return nil, errors.New("reply without headers")
	}
	return body, nil
}
