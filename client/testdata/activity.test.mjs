// The clocks of comet.js, by a page and an EventSource that are driven from here. What browsers do is in e2e.
import { test, mock } from "node:test";
import assert from "node:assert/strict";
import { page, hide, Source, last } from "./page.mjs";

mock.timers.enable({ apis: ["setTimeout", "Date"] });
const { connect } = await import("../comet.js");

// beat lets time pass on an event stream that lives.
function beat(seconds) {
  for (let n = 0; n < seconds; n++) {
    mock.timers.tick(1000);
    last().event("comet:hb");
  }
}

// opened counts the event streams that are opened in the next ms.
function opened(ms) {
  const before = Source.all.length;
  mock.timers.tick(ms);
  return Source.all.length - before;
}

function begin(options) {
  page.hidden = false;
  const comet = connect("/comet?v=1&c=chat@e.0", { EventSource: Source, ...options });
  last().hello();
  return comet;
}

test("back-off: from 0.5 s, √2 times as long each time, at most 30 s, jittered by a quarter", () => {
  for (const random of [0, 0.999999]) {
    mock.method(Math, "random", () => random);
    const comet = begin();
    const factor = 0.75 + random / 2;
    for (let n = 0; n < 20; n++) {
      last().fail(2);
      const pause = Math.min(30000, 500 * 2 ** (n / 2)) * factor;
      assert.equal(comet.state, "connecting");
      assert.equal(comet.why, "refused");
      assert.equal(opened(Math.ceil(pause) - 2), 0, `attempt ${n} comes too early`);
      assert.equal(opened(4), 1, `attempt ${n} does not come after ${pause} ms`);
    }
    last().hello();
    last().fail(2); // after a success it begins anew
    assert.equal(opened(500 * factor + 2), 1);
    comet.close();
    mock.restoreAll();
  }
});

test("what hello says of silence holds from hello on", () => {
  const comet = begin();
  last().fail(2);
  opened(1000);
  last().hello({ heartbeat: 1000 });
  mock.timers.tick(1999);
  assert.equal(comet.state, "open");
  mock.timers.tick(1);
  assert.equal(comet.why, "stalled");
  comet.close();
});

test("the first break is left to the browser, the next failure is not", () => {
  const comet = begin({ retries: 0 });
  const source = last();
  source.fail(0);
  assert.equal(comet.why, "lost");
  assert.equal(opened(29_000), 0);
  source.hello();
  assert.equal(comet.state, "open");
  source.fail(0);
  source.fail(0);
  assert.equal(comet.state, "paused");
  page.dispatchEvent(new Event("online"));
  last().hello();
  assert.equal(comet.state, "open");
  comet.close();
});

test("an absence that the server planned is neither a stall nor a failure", () => {
  const comet = begin({ retries: 0 });
  for (let n = 0; n < 3; n++) {
    last().event("comet:away", { retry: 120_000 });
    last().fail(0); // the browser waits
    assert.equal(comet.state, "connecting");
    assert.equal(opened(145_000), 0);
    last().onopen(); // turned away again, without a hello
  }
  last().hello();
  assert.equal(comet.state, "open");
  mock.timers.tick(30_001); // what was said of that absence is over
  assert.equal(comet.why, "stalled");
  comet.close();
});

test("two heartbeats of silence are the end, and any event is a sign of life", () => {
  const comet = begin();
  for (let n = 0; n < 5; n++) {
    mock.timers.tick(29_000);
    last().event("comet:hb");
    assert.equal(comet.state, "open");
  }
  mock.timers.tick(29_000);
  last().event("chat", "1", "id-1");
  mock.timers.tick(30_001);
  assert.equal(comet.why, "stalled");
  mock.timers.tick(1000);
  assert.match(last().url, /&after=id-1$/);
  comet.close();
});

test("hidden for 180 s, it looks after min(0.5 T + 60 s, 600 s), and no more often", () => {
  const comet = begin();
  hide(true);
  beat(179);
  assert.equal(comet.state, "open");
  mock.timers.tick(1000);
  assert.equal(comet.state, "idle");
  let idle = 0;
  for (let n = 0; n < 12; n++) {
    const pause = Math.min(0.5 * idle + 60_000, 600_000);
    assert.equal(opened(pause - 1), 0, `look ${n} comes too early`);
    assert.equal(opened(1), 1, `look ${n} does not come after ${pause} ms`);
    assert.match(last().url, /&wait=no/);
    last().hello();
    assert.equal(comet.state, "idle");
    last().fail(0);
    idle += pause;
  }
  const before = Source.all.length;
  hide(false); // at once, and the look that was to come does not
  assert.equal(Source.all.length, before + 1);
  assert.doesNotMatch(last().url, /wait=no/);
  last().hello();
  hide(true);
  hide(false); // back in time: the clock is stopped
  beat(400);
  assert.equal(comet.state, "open");
  comet.close();
  assert.equal(opened(10_000_000), 0, "closed, it goes on");
});

test("a page that leaves is hidden too, and looks not", () => {
  const comet = begin();
  page.dispatchEvent(new Event("pagehide"));
  hide(true);
  assert.equal(comet.state, "paused");
  assert.equal(opened(10_000_000), 0);
  page.hidden = false;
  page.dispatchEvent(new Event("pageshow"));
  assert.equal(comet.state, "connecting");
  comet.close();
});

test("a closed event stream that comes back with its page, as WebKit's do, is closed again", () => {
  const comet = begin(), first = last();
  page.dispatchEvent(new Event("pagehide"));
  page.dispatchEvent(new Event("pageshow"));
  last().hello();
  first.fail(0);
  assert.equal(first.readyState, 2);
  assert.equal(comet.state, "open");
  comet.close();
});

test("without looks, and always active", () => {
  const paused = begin({ idlePoll: null });
  hide(true);
  beat(180);
  assert.equal(paused.state, "paused");
  assert.equal(opened(10_000_000), 0);
  paused.activate(); // wanted, although nobody sees it: for another 180 s
  last().hello();
  assert.equal(paused.state, "open");
  paused.close();
  const active = begin({ idleAfter: Infinity });
  hide(true);
  beat(1000);
  assert.equal(active.state, "open");
  active.close();
});
