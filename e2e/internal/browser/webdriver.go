package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// A webDriver is a session of classic WebDriver: one command at a time, each a request over HTTP.
// https://www.w3.org/TR/webdriver2/#protocol
type webDriver struct {
	server string // its URL
	id     string // of the session
}

// elementKey is what an element's reference is called in JSON.
// https://www.w3.org/TR/webdriver2/#elements
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// newWebDriver begins a session and says what the browser said of itself.
func newWebDriver(ctx context.Context, server string, capabilities map[string]any) (d *webDriver, version string, err error) {
	d = &webDriver{server: server}
	var begun struct {
		SessionID    string
		Capabilities struct{ BrowserVersion string }
	}
	wanted := map[string]any{"capabilities": map[string]any{"alwaysMatch": capabilities}}
	err = d.send(ctx, http.MethodPost, "/session", wanted, &begun)
	d.id = begun.SessionID
	return d, begun.Capabilities.BrowserVersion, err
}

// post sends a command of the session and stores its answer into result, unless that is nil.
func (d *webDriver) post(ctx context.Context, command string, params map[string]any, result any) error {
	if params == nil {
		params = map[string]any{}
	}
	return d.send(ctx, http.MethodPost, "/session/"+d.id+command, params, result)
}

func (d *webDriver) get(ctx context.Context, command string, result any) error {
	return d.send(ctx, http.MethodGet, "/session/"+d.id+command, nil, result)
}

func (d *webDriver) delete(ctx context.Context, command string) error {
	return d.send(ctx, http.MethodDelete, "/session/"+d.id+command, nil, nil)
}

func (d *webDriver) send(ctx context.Context, method, path string, params map[string]any, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, d.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s, and %w", path, response.Status, err)
	}
	if response.StatusCode != http.StatusOK {
		var failure struct{ Error, Message string }
		if err := json.Unmarshal(answer.Value, &failure); err != nil {
			return fmt.Errorf("%s: %s, and %w", path, response.Status, err)
		}
		return fmt.Errorf("%s: %s: %s", path, failure.Error, failure.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}
