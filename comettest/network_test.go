package comettest

import (
	"context"
	"net"
	"testing"
	"time"
)

// A connection in memory takes deadlines when its peer has gone, as a socket does:
// fasthttp would let the event stream on it neither begin nor end.
func TestDeadlinesOfWhoHasGone(t *testing.T) {
	host := newHost()
	l := listen(host)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := dial(context.Background(), host+":80", net.IPv4(192, 0, 2, 9))
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	client.Close()
	for name, set := range map[string]func(time.Time) error{
		"SetDeadline": server.SetDeadline, "SetReadDeadline": server.SetReadDeadline, "SetWriteDeadline": server.SetWriteDeadline,
	} {
		if err := set(time.Time{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := server.Write([]byte("x")); err == nil {
		t.Error("who has gone is written to")
	}
}
