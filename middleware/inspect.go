package middleware

import (
	"embed"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/scope"
)

// inspectMax is how many channels, and how many readers of one, an answer has.
const inspectMax = 200

//go:embed page/inspect.html page/inspect.js page/inspect.css
var inspectFiles embed.FS

// inspectTypes are the files that the page asks for, besides itself.
var inspectTypes = map[string]string{
	"inspect.js":  "text/javascript; charset=utf-8",
	"inspect.css": "text/css; charset=utf-8",
}

// inspectPolicy is what the page needs. An app's own policy, that of helmet, stands.
const inspectPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Inspect returns a handler that shows site live: its channels and how far their readers
// are, and what was counted (docs/operations.md). The page asks once a second while it
// is seen. Nothing protects it but what the app puts before it, and it names channels,
// users and addresses; never tokens, sessions or values:
//
//	app.Get("/inspect", adminsOnly, comet.Inspect(site))
//
// Each answer costs three times what [scope.Site.Stats] does. At most 200 channels and
// 200 readers of one are shown. It takes GET and HEAD, and panics without a site.
func Inspect(site *scope.Site) fiber.Handler {
	if site == nil {
		panic("comet.Inspect: the site is nil: give it the one of Config.Site")
	}
	return func(c *fiber.Ctx) error {
		if c.Method() != fiber.MethodGet && c.Method() != fiber.MethodHead {
			c.Set(fiber.HeaderAllow, "GET, HEAD")
			return fiber.ErrMethodNotAllowed
		}
		c.Set(fiber.HeaderCacheControl, notStored)
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		file := c.Query("file")
		switch {
		case c.Query("figures") != "":
			return c.JSON(inspect(site, utils.CopyString(c.Query("find")), utils.CopyString(c.Query("channel"))))
		case file == "":
			if len(c.Response().Header.Peek(fiber.HeaderContentSecurityPolicy)) == 0 {
				c.Set(fiber.HeaderContentSecurityPolicy, inspectPolicy)
			}
			return sendInspect(c, "inspect.html", fiber.MIMETextHTMLCharsetUTF8)
		case inspectTypes[file] != "":
			return sendInspect(c, file, inspectTypes[file])
		}
		return fiber.ErrNotFound
	}
}

func sendInspect(c *fiber.Ctx, file, contentType string) error {
	data, err := inspectFiles.ReadFile("page/" + file)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, contentType)
	return c.Send(data)
}

// An inspection is what the page is answered.
type inspection struct {
	At         int64             `json:"at"` // milliseconds since 1970
	Streams    int               `json:"streams"`
	Opened     uint64            `json:"opened"`
	Sessions   int               `json:"sessions"`
	Processes  int               `json:"processes"`
	Attached   int               `json:"attached"`
	Publishing int               `json:"publishing"`
	Ended      map[string]uint64 `json:"ended"`
	Full       map[string]uint64 `json:"full"`
	Kinds      []inspectedKind   `json:"kinds"`
	Channels   []inspectedOne    `json:"channels"`
	More       int               `json:"more"` // channels that are left out
	Readers    []inspectedReader `json:"readers"`
}

type inspectedKind struct {
	Kind     string `json:"kind"`
	Channels int    `json:"channels"`
	inspectedFigures
}

type inspectedOne struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Tail  string `json:"tail"`
	Kept  int    `json:"kept"`
	Bytes int    `json:"bytes"`
	inspectedFigures
}

type inspectedFigures struct {
	Readers   int    `json:"readers"`
	Arrived   uint64 `json:"arrived"`
	Replayed  uint64 `json:"replayed"`
	Delivered uint64 `json:"delivered"`
	Coalesced uint64 `json:"coalesced"`
	Missed    uint64 `json:"missed"`
	Unsent    uint64 `json:"unsent"`
	Waiting   uint64 `json:"waiting"`
	Most      uint64 `json:"most"`
}

type inspectedReader struct {
	At      string `json:"at"`
	Waiting uint64 `json:"waiting"`
	User    string `json:"user"`
	Address string `json:"address"`
}

// inspect looks at the site: at the channels whose names contain find, and at the readers
// of the one called channel, "" for none.
func inspect(site *scope.Site, find, channel string) inspection {
	st := site.Stats()
	i := inspection{
		At: time.Now().UnixMilli(), Streams: st.Streams, Opened: st.Opened, Sessions: st.Sessions, Processes: st.Processes,
		Attached: st.Attached, Publishing: st.Publishing, Ended: st.Ended, Full: st.Full,
		Channels: []inspectedOne{}, Readers: []inspectedReader{},
	}
	for _, kind := range scope.Kinds {
		f := st.Kinds[kind]
		i.Kinds = append(i.Kinds, inspectedKind{kind, f.Channels, inspected(f)})
	}
	for _, c := range site.ChannelStats() {
		switch {
		case !strings.Contains(c.Name, find):
		case len(i.Channels) == inspectMax:
			i.More++
		default:
			i.Channels = append(i.Channels, inspectedOne{c.Name, c.Kind, c.Tail.String(), c.Kept, c.KeptBytes, inspected(c.Figures)})
		}
	}
	if channel != "" {
		for _, r := range site.ReaderStats(channel, inspectMax) {
			i.Readers = append(i.Readers, inspectedReader{r.At.String(), r.Waiting, r.Reader.User, r.Address})
		}
	}
	return i
}

func inspected(f scope.Figures) inspectedFigures {
	return inspectedFigures{
		Readers: f.Readers, Arrived: f.Arrived, Replayed: f.Replayed, Delivered: f.Delivered, Coalesced: f.Coalesced,
		Missed: f.Missed, Unsent: f.Unsent, Waiting: f.Waiting, Most: f.MaxWaiting,
	}
}
