// What ends a Comet or a channel, and what its listeners do about it, on an EventSource and a clock of our own.

import { test, mock } from "node:test";
import assert from "node:assert/strict";
import { page, hide, Source, last } from "./page.mjs";

const posts = [];
globalThis.fetch = async (url, { body }) => {
  posts.push(String(body));
  return new Response(JSON.stringify({ state: "heard", position: "e.5" }));
};

mock.timers.enable({ apis: ["setTimeout", "Date"] });
const { connect } = await import("../comet.js");
const site = "/comet?v=1&c=chat@e.0", own = "/comet?v=1&p=token&c=chat@e.0";
const processes = [{ process: "token", k: 0, channels: [{ channel: "mine" }] }];
const settled = () => new Promise(setImmediate);
const open = (url, options) => connect(url, { EventSource: Source, ...options });

test("closed by a listener of its state it stays closed", () => {
  for (const state of ["connecting", "idle"]) {
    const comet = open(site, { idleAfter: 1000 });
    last().hello();
    comet.addEventListener("state", e => e.detail.state === state && comet.close());
    if (state === "idle") {
      hide(true);
      mock.timers.tick(1000);
    } else last().fail(2);
    page.hidden = false;
    const sources = Source.all.length;
    mock.timers.tick(700_000);
    assert.equal(comet.state, "closed");
    assert.equal(Source.all.length, sources);
  }
});

test("restarted by a listener of its state it is not opened a second time", () => {
  const comet = open(site);
  last().hello();
  comet.addEventListener("state", e => e.detail.inMs && comet.restart(), { once: true });
  last().fail(2);
  last().hello();
  const sources = Source.all.length;
  mock.timers.tick(1000);
  assert.equal(Source.all.length, sources);
  assert.equal(comet.state, "open");
  comet.close();
});

test("restarted while it is hidden it becomes idle again", () => {
  const comet = open(site, { idleAfter: 1000 });
  last().hello();
  hide(true);
  mock.timers.tick(1000);
  assert.equal(comet.state, "idle");
  comet.restart();
  last().hello();
  assert.equal(comet.state, "open");
  mock.timers.tick(1000);
  assert.equal(comet.state, "idle");
  page.hidden = false;
  comet.close();
});

test("the full that its last channel ends with ends it", () => {
  const comet = open(site);
  last().hello();
  let heard;
  comet.channel("chat").addEventListener("error", e => (heard = e.error));
  last().event("comet:full", { channel: "chat", reason: "overflow", final: true });
  assert.equal(`${heard.name} ${heard.reason}`, "ChannelFull overflow");
  assert.equal(`${comet.state} ${comet.why}`, "closed overflow");
});

test("a process that another node has yet to answer for keeps it alive", () => {
  const comet = open(own);
  last().hello({ channels: [] });
  last().event("comet:closed", { channel: "chat", reason: "unavailable", final: true });
  assert.equal(comet.state, "open");
  comet.close();
});

test("a channel that is closed before the hello is closed on the server", async () => {
  posts.length = 0;
  const comet = open(own);
  comet.channel("mine").close();
  last().hello({ processes });
  await settled();
  assert.deepEqual(posts, ["close=mine"]);
  comet.close();
});

test("superseded is told once, however often the server says it", () => {
  const comet = open(own), heard = [];
  comet.addEventListener("error", e => heard.push(e.error.reason));
  for (let n = 0; n < 3; n++) {
    last().hello({ processes });
    last().event("comet:superseded", { process: "token", reason: "newer" });
    last().fail(0);
  }
  assert.deepEqual(heard, ["superseded"]);
  comet.close();
});

test("a new event stream of a superseded page leaves the process to the newer one", () => {
  const comet = open(own);
  last().hello({ processes });
  last().event("comet:superseded", { process: "token", reason: "newer" }, "_abc~0.5~-1.7");
  comet.restart();
  assert.equal(new URLSearchParams(last().url).get("after"), "_abc~0.5~-");
  last().hello();
  last().event("chat", "hello", "_abc~0.6~-1.7"); // as those do of an event stream that the browser has reconnected
  last().fail(2);
  comet.restart();
  assert.equal(new URLSearchParams(last().url).get("after"), "_abc~0.6~-");
  comet.close();
});

test("a register whose hello was lost is repeated, from the position that it was answered with", async () => {
  posts.length = 0;
  const comet = open(own);
  last().hello({ processes });
  comet.channel("news").addEventListener("message", () => {});
  for (let n = 0; n < 5; n++) await settled();
  last().fail(0);
  last().hello({ processes });
  for (let n = 0; n < 5; n++) await settled();
  assert.deepEqual(posts, ["register=news%40-0", "register=news%40e.5"]);
  comet.close();
});
