package wire_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/internal/wire"
)

// TestAcceptRefused: while the process has no descriptor left for who connects, those who
// are there hear on; and who waited is served when there is one again.
func TestAcceptRefused(t *testing.T) {
	late, there := newScript(t), newScript(t)
	first := true
	patient := func(t testing.TB) (net.Listener, func() (net.Conn, error)) {
		ln, dial := listenTCP(t)
		return wire.Patient(ln, slog.New(slog.DiscardHandler)), dial
	}
	srv := kind{way: best, listen: patient}.serve(t, func(ctx *fasthttp.RequestCtx) {
		src := late
		if first {
			src = there
		}
		first = false
		wire.Serve(ctx, src, wire.Options{})
	})
	there.say("one")
	p := srv.connect(get)
	r := bufio.NewReader(p.response(http.MethodGet).Body)
	events(t, r, 1)

	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	addr := p.conn.RemoteAddr().(*net.TCPAddr)
	to := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 1
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }
	defer restore()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(socket, to); err != nil { // the kernel takes it, and nobody accepts
		t.Fatal(err)
	}
	if _, err := unix.Write(socket, []byte(get)); err != nil {
		t.Fatal(err)
	}
	for _, event := range numbered("event", 5) {
		there.say(event)
		events(t, r, 1)
		time.Sleep(20 * time.Millisecond)
	}
	restore()
	file := os.NewFile(uintptr(socket), "who waited")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	late.say("late")
	late.finish(nil)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	late.waitGone(nil)
	there.finish(nil)
	there.waitGone(nil)
}
