package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// A proxy stands between the browser and a program and can be told to misbehave.
type proxy struct {
	*httptest.Server
	failing   atomic.Bool  // answers 502, as a proxy does while what is behind it restarts
	noCookies atomic.Bool  // lets none through, as a browser that refuses them
	keepable  atomic.Bool  // forgets that pages must not be stored, so that the browser keeps them for the way back
	pages     atomic.Int32 // how often the page itself was loaded
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			if p.noCookies.Load() {
				r.Header.Del("Set-Cookie")
			}
			if p.keepable.Load() {
				r.Header.Del("Cache-Control")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.failing.Load() && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if r.URL.Path == "/" {
			p.pages.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}
