package results

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A Machine is where and with what the samples were taken.
type Machine struct {
	Date     string   `json:"date"`
	Cores    int      `json:"cores"`
	CPU      string   `json:"cpu"`
	Kernel   string   `json:"kernel"`
	Go       string   `json:"go"`
	Modules  []string `json:"modules"` // path and version
	Command  string   `json:"command"`
	Revision string   `json:"revision"` // of Comet
}

// measured are the modules whose versions matter to the figures.
var measured = []string{
	"github.com/gofiber/fiber/v2", "github.com/gofiber/fiber/v3", "github.com/valyala/fasthttp",
	"github.com/tmaxmax/go-sse", "github.com/r3labs/sse/v2", "github.com/centrifugal/centrifuge",
}

// Here describes this machine, and the modules that binary was built of.
func Here(info *debug.BuildInfo, command, revision string) Machine {
	m := Machine{
		Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.NumCPU(), CPU: model(),
		Kernel: kernel(), Go: runtime.Version(), Command: command, Revision: revision,
	}
	for _, d := range info.Deps {
		if slices.Contains(measured, d.Path) {
			m.Modules = append(m.Modules, d.Path+" "+d.Version)
		}
	}
	return m
}

func model() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// kernel is the release without what a distributor put behind it.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	release, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-")
	return "Linux " + release
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores (%s), %s, %s, Comet %s. %s.",
		m.Date, m.Cores, m.CPU, m.Kernel, m.Go, m.Revision, strings.Join(m.Modules, ", "))
}
