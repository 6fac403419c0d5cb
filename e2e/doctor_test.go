package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	fiberproxy "github.com/gofiber/fiber/v2/middleware/proxy"

	"github.com/ocsigo/comet"
)

func init() { servers["doctor"] = serveDoctor }

// serveDoctor serves the doctor at /doctor, with a strict policy, and at /held through Fiber's proxy middleware, which holds
// everything back.
func serveDoctor(listener net.Listener, _ []string) error {
	site := comet.NewSite(comet.SiteConfig{Heartbeat: time.Second})
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(helmet.New(helmet.Config{ContentSecurityPolicy: "default-src 'self'; img-src 'self' data:"}))
	app.Use(comet.New(comet.Config{Site: site}))
	app.All("/doctor", comet.Doctor())
	app.All("/held", func(c *fiber.Ctx) error {
		return fiberproxy.DoTimeout(c, strings.Replace("http://"+listener.Addr().String()+c.OriginalURL(), "/held", "/doctor", 1), 20*time.Second)
	})
	return app.Listener(listener)
}

// TestDoctorPage: in each browser the page measures, finds nothing where nothing is, and what holds back where something does; it needs no more than
// a strict policy allows.
func TestDoctorPage(t *testing.T) {
	besides(t, func(t *testing.T, in string) {
		s, p := newSessionIn(t, in), serve(t, "doctor")
		for path, want := range map[string]string{"doctor": "Event streams arrive as", "held": "Event streams do not arrive as"} {
			tab := s.open(strings.TrimSuffix(p.url, "/") + "/" + path)
			if path == "doctor" {
				tab.click("#idle")
			}
			for range 10 { // a machine that is busy may hold events back itself
				tab.click("#measure")
				tab.until(`!document.getElementById("measure").disabled && /^Event streams|could not/.test(document.getElementById("state").textContent)`)
				if strings.HasPrefix(eval[string](tab, `document.getElementById("state").textContent`), want) {
					break
				}
			}
			state, found, measured := eval[string](tab, `document.getElementById("state").textContent`),
				eval[string](tab, `document.getElementById("findings").textContent`), eval[string](tab, `document.getElementById("measured").textContent`)
			if !strings.HasPrefix(state, want) {
				t.Errorf("/%s: %s; %s; %s", path, state, found, measured)
			}
			if path == "doctor" && (strings.Contains(found, "Fault") || !strings.Contains(found, "six connections") || !strings.Contains(measured, `"beats": 2`) ||
				!strings.Contains(measured, `"arrived": "8"`) || !strings.Contains(measured, `"left": true`)) {
				t.Errorf("/%s found %s in %s", path, found, measured)
			}
			if path == "held" && !strings.Contains(found, "the proxy middleware sends a response when it is whole") {
				t.Errorf("/%s found %s in %s", path, found, measured)
			}
			tab.close()
		}
	})
}
