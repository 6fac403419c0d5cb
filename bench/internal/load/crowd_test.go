//go:build linux

package load

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/bench/internal/message"
)

const patience = 5 * time.Second

// scripted serves one connection after the other: the response's head, and then
// what is sent to the channel it returns. Closing that ends the connection.
func scripted(t *testing.T) (addr string, script chan string) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	script = make(chan string, 16)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			_, _ = c.Write([]byte(head + "\r\n"))
			for text := range script {
				if text == "next" {
					break
				}
				_, _ = c.Write([]byte(text))
			}
			c.Close()
		}
	}()
	return ln.Addr().String(), script
}

// value is the event of one value.
func value(channel int, seq int64) string {
	return "id: x\ndata: " + string(message.Message{Channel: channel, Seq: seq, At: time.Now().UnixNano()}.Append(nil, 64)) + "\n\n"
}

func oneStream(t *testing.T, o Options) (*Crowd, chan string) {
	t.Helper()
	var script chan string
	o.Addr, script = scripted(t)
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Connect([]Request{{Path: "/"}}, patience); err != nil {
		t.Fatal(err)
	}
	return c, script
}

func TestEveryDeliveryIsChecked(t *testing.T) {
	cases := map[string]struct {
		sent []string
		want string // of the error; "": none
	}{
		"in order":        {[]string{value(0, 1), value(0, 2), value(1, 1), value(0, 3)}, ""},
		"lost":            {[]string{value(0, 1), value(0, 3)}, "1 lost"},
		"lost at first":   {[]string{value(0, 2)}, "1 lost"},
		"doubled":         {[]string{value(0, 1), value(0, 1)}, "doubled"},
		"out of order":    {[]string{value(0, 1), value(1, 1), value(0, 2), value(0, 1)}, "doubled"},
		"foreign":         {[]string{value(2, 1)}, "does not hear"},
		"hole":            {[]string{value(0, 1), "event: comet:full\ndata: {}\n\n"}, "comet:full"},
		"other events":    {[]string{"event: comet:hello\ndata: {}\n\n", value(0, 1)}, ""},
		"two in an event": {[]string{strings.ReplaceAll(value(0, 1)+value(0, 2), "\n\nid: x\ndata: ", "")}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, script := oneStream(t, Options{Channels: 2})
			c.Start(8)
			for _, text := range tc.sent {
				script <- text
			}
			script <- value(1, 99) // lost, whatever came before
			err := c.Await(100, patience)
			if err == nil {
				t.Fatal("Await returned without 100 deliveries and without a fault")
			}
			want := tc.want
			if want == "" {
				want = "heard value 99 of channel 1"
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q, want one with %q", err, want)
			}
		})
	}
}

func TestAStreamThatEndsIsAFault(t *testing.T) {
	c, script := oneStream(t, Options{Channels: 1})
	c.Start(1)
	close(script)
	if err := c.Await(1, patience); err == nil || !strings.Contains(err.Error(), "stream 0: the stream ended") {
		t.Errorf("error %v", err)
	}
}

func TestAwaitCountsAndTimesDeliveries(t *testing.T) {
	c, script := oneStream(t, Options{Channels: 1})
	c.Start(2)
	script <- value(0, 1)
	script <- value(0, 2)
	if err := c.Await(2, patience); err != nil {
		t.Fatal(err)
	}
	if p := c.Latency(1); p <= 0 || p > patience {
		t.Errorf("the slowest of two deliveries took %v", p)
	}
	if err := c.Linger(20 * time.Millisecond); err != nil {
		t.Error(err)
	}
	script <- value(0, 3)
	if err := c.Linger(patience / 10); err == nil {
		t.Error("a third delivery of two is no fault")
	}
}

func TestAReconnectGoesOnWhereItWas(t *testing.T) {
	for _, doubles := range []bool{false, true} {
		c, script := oneStream(t, Options{Channels: 1, Doubles: doubles})
		c.Start(1)
		script <- value(0, 1)
		if err := c.Await(1, patience); err != nil {
			t.Fatal(err)
		}
		if id, seq := c.Last(0); id != "x" || seq != 1 {
			t.Errorf("the stream was at %q, %d", id, seq)
		}
		c.Cut()
		script <- "next"
		c.Start(2)
		if err := c.Reconnect([]Request{{Path: "/"}}, patience); err != nil {
			t.Fatal(err)
		}
		script <- value(0, 1)
		script <- value(0, 2)
		err := c.Await(1, patience)
		if doubles && err != nil {
			t.Errorf("the last event once more: %v", err)
		}
		if !doubles && (err == nil || !strings.Contains(err.Error(), "doubled")) {
			t.Errorf("a replay of what was heard is no fault: %v", err)
		}
	}
}
