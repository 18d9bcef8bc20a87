package portmap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds on what a gateway's web server may say.
const (
	mostLine    = 4 << 10  // of a header
	mostHeaders = 64       // lines
	mostBody    = 64 << 10 // descriptions take 4 to 20 KiB
)

// request returns an HTTP/1.1 request for one exchange. action is SOAP's, empty for a GET; body is its envelope.
func (at place) request(host, action, body string) []byte {
	var b strings.Builder
	method, soap := "GET ", ""
	if action != "" {
		method = "POST "
		soap = "Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"" + action + "\"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	for _, s := range []string{
		method, at.path, " HTTP/1.1\r\nHost: ", host, "\r\nUser-Agent: SimpleBit UPnP/1.1\r\nAccept: text/xml\r\nConnection: close\r\n", soap, "\r\n", body,
	} {
		b.WriteString(s)
	}
	return []byte(b.String())
}

var (
	errNotHTTP = errors.New("the gateway's web server does not speak HTTP")
	errTooLong = errors.New("the gateway's web server says too much")
)

// readResponse reads one response (RFC 9112) within the bounds above, and no further. Redirections are not followed: they
// are a status like others.
func readResponse(r io.Reader) (status int, body []byte, err error) {
	// What a server may send at most: one more byte is too much.
	all := &io.LimitedReader{R: r, N: mostLine*mostHeaders + 2*mostBody}
	br := bufio.NewReaderSize(all, mostLine)
	for range 4 { // interim responses
		var h header
		if status, h, err = readHeader(br); err != nil {
			return 0, nil, err
		}
		if status < 200 {
			continue
		}
		body, err = h.body(br)
		return status, body, err
	}
	return 0, nil, errNotHTTP
}

// header is what matters of one.
type header struct {
	length  int64 // -1: to the end
	chunked bool
}

func readHeader(br *bufio.Reader) (status int, h header, err error) {
	h.length = -1
	line, err := readLine(br)
	if err != nil {
		return 0, h, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	status, err = strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || status < 100 || status > 599 {
		return 0, h, errNotHTTP
	}
	for range mostHeaders {
		line, err := readLine(br)
		if err != nil {
			return 0, h, err
		}
		if line == "" {
			return status, h, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-length":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || h.length >= 0 && h.length != int64(n) {
				return 0, h, errNotHTTP
			}
			h.length = int64(n)
		case "transfer-encoding":
			if !strings.EqualFold(value, "chunked") {
				return 0, h, errNotHTTP
			}
			h.chunked = true
		}
	}
	return 0, h, errTooLong
}

// readLine returns a line without its end.
func readLine(br *bufio.Reader) (string, error) {
	line, err := br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errTooLong
	case err != nil:
		return "", unexpected(err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (h header) body(br *bufio.Reader) (body []byte, err error) {
	switch {
	case h.chunked:
		return readChunks(br)
	case h.length > mostBody:
		return nil, errTooLong
	case h.length >= 0:
		return readBytes(nil, br, h.length)
	}
	body, err = io.ReadAll(io.LimitReader(br, mostBody+1))
	if err == nil && len(body) > mostBody {
		err = errTooLong
	}
	return body, err
}

// readChunks reads a body in chunks (RFC 9112 section 7.1); trailers are left unread.
func readChunks(br *bufio.Reader) (body []byte, err error) {
	for {
		line, err := readLine(br)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 31)
		switch {
		case err != nil:
			return nil, errNotHTTP
		case n == 0:
			return body, nil
		case uint64(len(body))+n > mostBody:
			return nil, errTooLong
		}
		if body, err = readBytes(body, br, int64(n)); err != nil {
			return nil, err
		}
		if line, err = readLine(br); err != nil {
			return nil, err
		}
		if line != "" {
			return nil, errNotHTTP
		}
	}
}

// readBytes appends n bytes, for which memory is taken only as they come.
func readBytes(b []byte, r io.Reader, n int64) ([]byte, error) {
	part, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(part)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if b == nil {
		return part, nil
	}
	return append(b, part...), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the gateway's web server: %w", io.ErrUnexpectedEOF)
	}
	return err
}
