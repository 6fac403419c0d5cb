package harness

// A Row is one server in one mode: see the command server.
type Row struct {
	Kind     string
	Mode     string
	Channels int    // that exist, and in the mode Many that each stream hears
	Title    string // in the table
}

// The modes of servers.
const (
	Site    = "site"
	Many    = "many"
	Process = "process"
	Tabs    = "tabs"
	Private = "private"
)

// ID names a row among all.
func (r Row) ID() string { return r.Kind + "/" + r.Mode }

// hears is how many channels each stream hears.
func (r Row) hears() int {
	if r.Mode == Many {
		return r.Channels
	}
	return 1
}

// Rows are all servers that are measured with a crowd.
var Rows = []Row{
	{"floor", Site, 1, "the floor: raw epoll, merging"},
	{"comet", Site, 1, "**Comet**"},
	{"fiberv2", Site, 1, "Fiber v2, the recipes' way"},
	{"fiberv3", Site, 1, "Fiber v3 `middleware/sse`"},
	{"gosse", Site, 1, "tmaxmax/go-sse"},
	{"r3labs", Site, 1, "r3labs/sse"},
	{"centrifuge", Site, 1, "centrifuge, uni_sse"},

	{"floor", Many, 32, "the floor, 32 channels a stream"},
	{"comet", Many, 32, "**Comet**, 32 channels a stream"},
	{"comet", Process, 1, "**Comet**, a client process each, 50 to a session"},
	{"comet", Tabs, 1, "**Comet**, a session and a client process each"},

	{"floor", Private, 0, "the floor"},
	{"comet", Private, 0, "**Comet**"},
	{"fiberv2", Private, 1, "Fiber v2, the recipes' way"},
	{"fiberv3", Private, 1, "Fiber v3 `middleware/sse`"},
	{"gosse", Private, 1, "tmaxmax/go-sse"},
	{"r3labs", Private, 1, "r3labs/sse"},
	{"centrifuge", Private, 1, "centrifuge, uni_sse"},
}

// CostRow names the figures of Cost, and CostChannels how many channels there are.
const CostRow = "cost"

var CostChannels = []int{1, 1000, 100_000}
