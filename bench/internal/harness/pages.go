package harness

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ocsigo/comet/bench/internal/load"
)

// pages are the requests of the streams from first to n: by page where each has
// one of its own, so that the server has made what a page makes.
func pages(c *Child, row Row, first, n int) ([]load.Request, error) {
	requests := make([]load.Request, 0, n-first)
	var shared load.Request
	for i := first; i < n; i++ {
		r := load.Request{Path: c.Path}
		var err error
		switch {
		case c.Page == "once" && i > first:
			r = shared
		case c.Page == "each" && i%c.Tabs != 0:
			r, err = page(c, shared.Cookie)
		case c.Page != "":
			r, err = page(c, "")
			shared = r
		case strings.Contains(c.Path, "%d"):
			r.Path = fmt.Sprintf(c.Path, i)
		}
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", i, err)
		}
		if row.Mode == Private {
			r.First = i
		}
		requests = append(requests, r)
	}
	return requests, nil
}

// page asks for a page as a browser that navigates there does.
func page(c *Child, cookie string) (r load.Request, err error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+c.Addr+c.Path, nil)
	if err != nil {
		return r, err
	}
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return r, err
	}
	if response.StatusCode != http.StatusOK {
		return r, fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	r = load.Request{Path: string(body), Cookie: cookie}
	for _, set := range response.Cookies() {
		r.Cookie = set.Name + "=" + set.Value
	}
	return r, nil
}

// again are the requests of streams that come back, each from where it was.
func again(c *Child, crowd *load.Crowd, requests []load.Request) []load.Request {
	back := make([]load.Request, len(requests))
	for i, r := range requests {
		id, seq := crowd.Last(i)
		switch c.Resume {
		case "id":
			r.LastID = id
		case "offset":
			r.Path += fmt.Sprintf("&offset=%d", seq)
		}
		back[i] = r
	}
	return back
}
