// Package netns makes hosts of a test's own: network namespaces on one bridge, each of
// which can be cut off from the others while the test still reaches it. It needs root
// and iproute2.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Addresses are of the blocks that RFC 5737 keeps for documentation, so that nothing
// else has them: TEST-NET-2 among the hosts, TEST-NET-3 between the test and each host.
const (
	among   = "198.51.100."
	between = "203.0.113."
)

// Hosts are those of one test.
type Hosts struct {
	t     *testing.T
	id    string
	count int
}

// ErrMissing tells that this machine cannot have hosts, and the remedy.
var ErrMissing = errors.New("network namespaces cannot be made here: this takes root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and ip of iproute2")

// New makes n hosts, at most 9; they go with the test. One test at a time can have
// hosts. The error is an ErrMissing where the machine cannot.
func New(t *testing.T, n int) (*Hosts, error) {
	h := &Hosts{t: t, id: fmt.Sprint(os.Getpid() % 100_000), count: n}
	t.Cleanup(h.remove)
	if err := h.ip("link", "add", h.bridge(), "type", "bridge"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err := h.ip("link", "set", h.bridge(), "up"); err != nil {
		return nil, err
	}
	for i := range n {
		if err := h.add(i); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
	}
	return h, nil
}

func (h *Hosts) bridge() string { return "cb" + h.id }

// Name is the namespace of host i.
func (h *Hosts) Name(i int) string { return fmt.Sprintf("comet%s-%d", h.id, i) }

// link is one end of a veth pair; kind a of the bridge, kind b of the test.
func (h *Hosts) link(kind string, i int) string { return fmt.Sprintf("c%s%s%d", kind, h.id, i) }

// Address is where the other hosts reach host i.
func (h *Hosts) Address(i int) string { return fmt.Sprint(among, 10+i) }

// Reach is where the test reaches host i, also while that is cut off.
func (h *Hosts) Reach(i int) string { return fmt.Sprint(between, 4*i+2) }

func (h *Hosts) add(i int) error {
	ns, a, b := h.Name(i), h.link("a", i), h.link("b", i)
	for _, line := range []string{
		"netns add " + ns,
		"-n " + ns + " link set lo up",
		"link add " + a + " type veth peer name eth0 netns " + ns,
		"link set " + a + " master " + h.bridge() + " up",
		"-n " + ns + " addr add " + h.Address(i) + "/24 dev eth0",
		"-n " + ns + " link set eth0 up",
		"link add " + b + " type veth peer name eth1 netns " + ns,
		"addr add " + fmt.Sprint(between, 4*i+1) + "/30 dev " + b,
		"link set " + b + " up",
		"-n " + ns + " addr add " + h.Reach(i) + "/30 dev eth1",
		"-n " + ns + " link set eth1 up",
	} {
		if err := h.ip(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// Cut cuts host i off from the others: what is sent is lost, and nobody is told.
func (h *Hosts) Cut(i int) error { return h.ip("link", "set", h.link("a", i), "down") }

// Heal ends a Cut.
func (h *Hosts) Heal(i int) error { return h.ip("link", "set", h.link("a", i), "up") }

func (h *Hosts) remove() {
	for i := range h.count {
		_ = h.ip("link", "del", h.link("a", i))
		_ = h.ip("link", "del", h.link("b", i))
		_ = h.ip("netns", "del", h.Name(i))
	}
	_ = h.ip("link", "del", h.bridge())
}

func (h *Hosts) ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
