package e2e

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// images is how the README's pictures are made anew: go test -run TestLooks . -images ../docs/images
var images = flag.String("images", "", "write the README's pictures of the examples to this `directory`")

// look leaves a screenshot in artifacts/, for a person to look at.
func (tab *tab) look(name string) {
	tab.t.Helper()
	tab.picture(filepath.Join("artifacts", name+".png"))
}

func (tab *tab) picture(file string) {
	tab.t.Helper()
	var picture []byte
	tab.act("a screenshot", func(ctx context.Context) (err error) {
		picture, err = tab.page.Screenshot(ctx)
		return err
	})
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		tab.t.Fatal(err)
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		tab.t.Fatal(err)
	}
}

// portray makes a picture for the README, if pictures are wanted.
func (tab *tab) portray(name, scheme string, height int64) {
	tab.t.Helper()
	if *images == "" {
		return
	}
	tab.dress(scheme, 800, height)
	eval[bool](tab, `(scrollTo(0, 0), true)`)
	tab.frames()
	tab.picture(filepath.Join(*images, name+"-"+scheme+".png"))
}

func (tab *tab) dress(scheme string, width, height int64) {
	tab.t.Helper()
	tab.prefer("prefers-color-scheme", scheme)
	tab.do(chromedp.EmulateViewport(width, height))
}

// prefer is what a person's system settings say.
func (tab *tab) prefer(feature, value string) {
	tab.t.Helper()
	_, err := chromedp.Call(tab.chromium(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
	})
	if err != nil {
		tab.t.Fatal(err)
	}
}

// contrasts gives the least contrast (WCAG 2.2, 1.4.3) of any text on the page that is seen, and which text that is. A
// canvas turns whatever colour the style names into red, green and blue.
const contrasts = `(() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map(); // a canvas is slow, and a page has a few colours
  const light = colour => (known.has(colour) ? known : known.set(colour, measure(colour))).get(colour);
  const measure = colour => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return a ? .2126 * x + .7152 * y + .0722 * z : null;
  };
  const ground = element => element ? light(getComputedStyle(element).backgroundColor) ?? ground(element.parentElement) : 1;
  let worst = { ratio: 21, text: "" };
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
    if (!text || !element.checkVisibility({ visibilityProperty: true }) || element.disabled || element.closest(".hidden, .waiting, noscript, script")) continue;
    const [a, b] = [light(getComputedStyle(element).color), ground(element)].sort((a, b) => b - a);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst.ratio) worst = { ratio, text };
  }
  return worst;
})()`

// judge wants a page that fits its width and whose text can be read.
func (tab *tab) judge(name string) {
	tab.t.Helper()
	tab.look(name)
	if over := eval[int](tab, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		tab.t.Errorf("%s: the page is %d px wider than its window", name, over)
	}
	type contrast struct {
		Ratio float64 `json:"ratio"`
		Text  string  `json:"text"`
	}
	if worst := eval[contrast](tab, contrasts); worst.Ratio < 4.5 {
		tab.t.Errorf("%s: the contrast of %q is %.2f, want 4.5", name, worst.Text, worst.Ratio)
	}
	// Everything that can be pressed, typed into or scrolled has a name for those who do not see it, and so has what speaks
	// by itself.
	nameless := eval[[]string](tab, `[...document.querySelectorAll("button, a, summary, textarea, input:not([type=hidden]), [tabindex], [role=log], [role=img], output")]
	  .filter(e => e.checkVisibility() && !(e.textContent.trim() || e.labels?.[0]?.textContent.trim() || e.ariaLabel)).map(e => e.outerHTML)`)
	if len(nameless) > 0 {
		tab.t.Errorf("%s: without a name: %q", name, nameless)
	}
	if pill := eval[string](tab, `document.querySelector("#pill").role`); pill != "status" {
		tab.t.Errorf("%s: the state of the connection has the role %q, want status: it is announced when it changes", name, pill)
	}
}

var views = []struct {
	name, scheme  string
	width, height int64
}{
	{"light", "light", 900, 720},
	{"dark", "dark", 900, 720},
	{"phone", "light", 360, 640},
	{"phone-dark", "dark", 360, 640},
}

const pressWire = `(document.querySelector("#wire summary").click(), true)`

func TestLooks(t *testing.T) {
	inShell(t)
	chat, mail := start(t, "chat"), start(t, "mailcount", "-every", "200ms")
	s, other := newSession(t), newSession(t)
	room, inbox := s.chat(chat.url), s.open(mail.url)
	room.judge("chat-empty")
	for _, text := range []string{"Morning! Is the new build up?", "I only see the old page."} {
		room.say(text)
	}
	answer := "It is. Reload, then look at the pill in the corner: it says Live when it is. The log is at https://example.org/builds/2026-11-23/0142/logs/all?wrap=no"
	reader := other.chat(chat.url)
	reader.submit(answer)
	room.hears("Morning! Is the new build up?", "I only see the old page.", answer)
	room.cut(5)
	room.until(lost)
	reader.submit("Did you see it?")
	reader.until(`document.querySelectorAll("#log .text").length === 4`)
	chat.say("A guest says hello, too.")
	room.until(`document.querySelectorAll("#log .text").length === 5`) // caught up, or live where the machine is slow
	inbox.until(counted)
	mail.arrive(12)
	inbox.ask()
	mail.arrive(7)
	for _, page := range []*tab{room, inbox} {
		eval[bool](page, pressWire) // mails arrive all the time, and would move it away from under the mouse
		page.until(`document.querySelector("#wire table").checkVisibility()`)
	}
	for _, view := range views {
		room.dress(view.scheme, view.width, view.height)
		room.until(atEnd + ` && !document.getAnimations().length`)
		room.judge("chat-" + view.name)
		inbox.dress(view.scheme, view.width, view.height)
		inbox.judge("mailcount-" + view.name)
	}
	eval[bool](inbox, pressWire)
	for _, scheme := range []string{"light", "dark"} {
		room.portray("chat", scheme, 900)
		inbox.portray("mailcount", scheme, 900)
	}
}

// What was missed is marked for those who do not want things to move, too, and does not move.
func TestLooksWithoutMotion(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	tab := newSession(t).chat(p.url)
	tab.prefer("prefers-reduced-motion", "reduce")
	tab.cut(3)
	tab.until(lost)
	p.say("missed")
	tab.until(`document.querySelector(".fresh")`)
	if n := eval[int](tab, `document.getAnimations().length`); n != 0 {
		t.Errorf("%d animations run", n)
	}
	if bar := eval[string](tab, `getComputedStyle(document.querySelector(".fresh")).borderLeftWidth`); bar != "5px" {
		t.Errorf("what was missed has a bar of %s, want 5px", bar)
	}
}
