package e2e

import (
	"fmt"
	"strings"
	"testing"
)

const (
	dead = "error, readyState 2" // and never again
	cut  = "error, readyState 0" // and it comes back
)

// first answers the first request with an event stream of these bytes, which then ends, and later ones with the id that the
// browser came back with.
func first(bytes string) func(x *exchange) {
	return func(x *exchange) {
		if x.nth > 1 {
			x.back()
			return
		}
		x.stream("retry: 1\n\n" + bytes)
	}
}

// cutAt sends the parts one by one, each when the page heard "go" at the end of the part before.
func cutAt(parts ...string) func(x *exchange) {
	return func(x *exchange) {
		x.stream("")
		for i, part := range parts {
			if i > 0 {
				x.pause()
			}
			x.say(part)
		}
		x.hang()
	}
}

// TestPinStatus: an EventSource gives up for ever on any status but 200, at once or when it comes back. So what is temporary
// is a 200 (rule 12), and 204 is the end (rules 8, 11).
func TestPinStatus(t *testing.T) {
	var pins []pin
	for _, line := range []string{"204 No Content", "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone",
		"429 Too Many Requests", "431 Request Header Fields Too Large", "500 Internal Server Error", "502 Bad Gateway",
		"503 Service Unavailable", "504 Gateway Timeout"} {
		refuse := func(x *exchange) { x.status(line, "Retry-After: 1", "Content-Length: 0") }
		again := func(x *exchange) {
			if x.nth > 1 {
				refuse(x)
				return
			}
			x.stream("retry: 1\n\n")
		}
		pins = append(pins, pin{name: line, answer: refuse, want: []string{dead}},
			pin{name: line + " at the reconnect", answer: again, want: []string{"open", cut, dead}})
	}
	check(t, append(pins, []pin{
		{name: "503 with an event stream in it", want: []string{dead}, answer: func(x *exchange) {
			x.status("503 Service Unavailable", "Content-Type: text/event-stream")
			x.say("data: unheard\n\n")
		}},
		{name: "200 with another content type", want: []string{dead}, answer: func(x *exchange) {
			x.status("200 OK", "Content-Type: text/html")
			x.say("data: unheard\n\n")
		}},
		{name: "200 with retry alone and an end", want: []string{"open", cut, "open", `message "back with none"`}, answer: first("")},
		{name: "200 with retry, an event that nobody listens to and an end", want: []string{"open", cut, "open", `message "back with none"`},
			answer: first("event: comet:away\ndata: {\"retry\":100}\n\n")},
	}...))
}

// TestPinID: a cursor lives in the id of events, and of nothing else (rule 4).
func TestPinID(t *testing.T) {
	long := strings.Repeat("0123456789", 70)
	check(t, []pin{
		{name: "the last id comes back", answer: first("id: a\ndata: 1\n\nid: b\ndata: 2\n\n"),
			want: []string{"open", `message "1" #a`, `message "2" #b`, cut, "open", `message "back with b" #b`}},
		{name: "an event without an id keeps it", answer: first("id: a\ndata: 1\n\ndata: 2\n\n"),
			want: []string{"open", `message "1" #a`, `message "2" #a`, cut, "open", `message "back with a" #a`}},
		{name: "an id alone moves the cursor in Chromium only", answer: first("id: a\ndata: 1\n\nid: b\n\n"),
			want: []string{"open", `message "1" #a`, cut, "open", `message "back with b" #b`},
			differ: map[string][]string{
				"firefox": {"open", `message "1" #a`, cut, "open", `message "back with a" #a`},
				"webkit":  {"open", `message "1" #a`, cut, "open", `message "back with a" #a`},
			}},
		{name: "an id with empty data moves it", answer: first("id: a\ndata: 1\n\nid: b\ndata\n\n"),
			want: []string{"open", `message "1" #a`, `message "" #b`, cut, "open", `message "back with b" #b`}},
		{name: "an id with a name and empty data moves it", answer: first("id: a\ndata: 1\n\nevent: comet:end\nid: b\ndata:\n\n"),
			want: []string{"open", `message "1" #a`, cut, "open", `message "back with b" #b`}},
		{name: "an id whose event was cut off does not count", answer: first("id: a\ndata: 1\n\nid: b\ndata: 2\n"),
			want: []string{"open", `message "1" #a`, cut, "open", `message "back with a" #a`}},
		{name: "an empty id forgets it", answer: first("id: a\ndata: 1\n\nid\ndata: 2\n\n"),
			want: []string{"open", `message "1" #a`, `message "2"`, cut, "open", `message "back with none"`}},
		{name: "an id with NUL", answer: first("id: a\ndata: 1\n\nid: b\x00c\ndata: 2\n\n"),
			want:   []string{"open", `message "1" #a`, `message "2" #a`, cut, "open", `message "back with a" #a`},
			differ: map[string][]string{"firefox": {"open", `message "1" #a`, cut, "open", `message "back with a" #a`}}},
		{name: "punctuation comes back as it is", answer: first("id: a=1~2;b,c:\"d'@-_.!*()\ndata: 1\n\n"),
			want: []string{"open", `message "1" #a=1~2;b,c:"d'@-_.!*()`, cut, "open", `message "back with a=1~2;b,c:\"d'@-_.!*()" #a=1~2;b,c:"d'@-_.!*()`}},
		{name: "blanks around it are lost", answer: first("id:  a b \ndata: 1\n\n"),
			want: []string{"open", `message "1" # a b `, cut, "open", `message "back with a b" # a b `}},
		{name: "700 bytes come back", answer: first("id: " + long + "\ndata: 1\n\n"),
			want: []string{"open", `message "1" #` + long, cut, "open", `message "back with ` + long + `" #` + long}},
	})
}

// TestPinFormat: what package sse writes is read as it was meant, however the network cuts it.
func TestPinFormat(t *testing.T) {
	check(t, []pin{
		{name: "CRLF cut in two", answer: cutAt("data: go\r\n\r\ndata: 1\r", "\n\r\ndata: 2\n\n"),
			want: []string{"open", `message "go"`, `message "1"`, `message "2"`}},
		{name: "LF, CR and CRLF", answer: cutAt("data: 1\n\ndata: 2\r\rdata: 3\r\n\r\ndata: 4\ndata: 5\rdata: 6\r\n\n"),
			want: []string{"open", `message "1"`, `message "2"`, `message "3"`, `message "4\n5\n6"`}},
		{name: "a character cut in two", answer: cutAt("data: go\n\ndata: \xe2\x98", "\x83\n\n"),
			want: []string{"open", `message "go"`, `message "☃"`}},
		{name: "a line cut in two", answer: cutAt("data: go\n\nda", "ta: 1\n\n"), want: []string{"open", `message "go"`, `message "1"`}},
		{name: "what is not UTF-8", answer: cutAt("data: a\xffb\n\n"), want: []string{"open", "message \"a\uFFFDb\""}},
		{name: "a byte order mark at the start", answer: cutAt("\ufeffdata: 1\n\n"), want: []string{"open", `message "1"`}},
		{name: "a byte order mark later", answer: cutAt("data: 1\n\n\ufeffdata: 2\n\ndata: 3\n\n"),
			want: []string{"open", `message "1"`, `message "3"`}},
		{name: "NUL in data", answer: cutAt("data: a\x00b\n\n"), want: []string{"open", `message "a\u0000b"`},
			differ: map[string][]string{"firefox": {"open", `message "ab"`}}},
		{name: "comments and unknown fields", answer: cutAt(": hello\n\nwhat: ever\ndata: 1\n:\n\n"), want: []string{"open", `message "1"`}},
		{name: "one blank after the colon is not data", answer: cutAt("data:1\n\ndata:  2\n\n"), want: []string{"open", `message "1"`, `message " 2"`}},
		{name: "an event without data is none", answer: cutAt("event: message\n\ndata: 1\n\n"), want: []string{"open", `message "1"`}},
		{name: "empty data is an event", answer: cutAt("data\n\ndata:\n\ndata:\ndata\n\n"), want: []string{"open", `message ""`, `message ""`, `message "\n"`}},
		{name: "an event that was cut off is none", answer: first("data: 1\n\ndata: 2\n"),
			want: []string{"open", `message "1"`, cut, "open", `message "back with none"`}},
		{name: "one event of a megabyte", answer: cutAt("data: " + strings.Repeat("x", 1<<20) + "\n\n"),
			listen: `listen(), source.addEventListener("message", e => log[1] = "data of " + e.data.length)`,
			want:   []string{"open", fmt.Sprint("data of ", 1<<20)}},
	})
}

// TestPinNames: an event name is matched exactly, and three are the EventSource's own: rule 15's grammar and exceptions.
func TestPinNames(t *testing.T) {
	check(t, []pin{
		{name: "punctuation", answer: cutAt("event: a.b:c/d-e_f\ndata: 1\n\nevent: unread@1\ndata: 2\n\nevent: comet:hb\ndata\n\n"),
			listen: `listen("/stream", {}, "a.b:c/d-e_f", "unread@1", "unread", "comet:hb")`,
			want:   []string{"open", `a.b:c/d-e_f "1"`, `unread@1 "2"`, `comet:hb ""`}},
		{name: "upper and lower case", answer: cutAt("event: Chat\ndata: 1\n\nevent: chat\ndata: 2\n\n"),
			listen: `listen("/stream", {}, "chat")`, want: []string{"open", `chat "2"`}},
		{name: "an event named message has no name", answer: cutAt("event: message\ndata: 1\n\n"), want: []string{"open", `message "1"`}},
		{name: "an event named open looks like an open", answer: cutAt("event: open\ndata: 1\n\n"), want: []string{"open", "open"}},
		{name: "an event named error looks like an error", answer: cutAt("event: error\ndata: 1\n\n"),
			listen: `listen(), source.onerror = e => log.push("onerror " + e.data)`, want: []string{"open", "onerror 1"}},
	})
}
