// Whose an event is, on an event stream that tabs share: a leader with a lock, an EventSource and a server of our own.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Source, last } from "./page.mjs";

globalThis.location = new URL("http://localhost/");
globalThis.EventSource = Source;
globalThis.fetch = async (url, { body }) => {
  const register = new URLSearchParams(String(body)).get("register");
  return new Response(JSON.stringify({ state: "heard", position: register ? "e.1" : undefined }));
};
const held = new Set();
Object.defineProperty(globalThis, "navigator", {
  value: {
    locks: {
      request(name, options, act) {
        if (held.has(name)) return new Promise(() => {});
        held.add(name);
        return Promise.resolve().then(act);
      },
    },
  },
});
const { connect } = await import("../comet-shared.js");
const settled = async () => {
  for (let n = 0; n < 20; n++) await new Promise(setImmediate);
};

// lead is a page that leads, whose own channels these are; say is its server, hear its listener, heard what that heard.
async function lead(t, channels) {
  held.clear();
  const comet = connect("/comet?v=1&g=group&p=token&c=chat@e.0"), heard = {};
  t.after(() => comet.close());
  await settled();
  const source = last();
  last().hello({ processes: [{ process: "token", k: 0, channels }] });
  await settled();
  return {
    heard,
    async hear(name) {
      comet.channel(name).addEventListener("message", ({ data }) => (heard[name] ??= []).push(data));
      await settled();
    },
    async say(type, data, id) {
      source.event(type, data, id);
      await settled();
    },
  };
}

test("a site channel of the name of a private one that ended hears its own values only", async t => {
  const { heard, hear, say } = await lead(t, [{ channel: "news", event: "mail" }, { channel: "letters", event: "mail" }]);
  await hear("news");
  await hear("letters");
  await say("comet:closed", { channel: "news", reason: "closed", final: true }, "_abc~-1.1");
  await hear("news"); // the site's, now
  await say("comet:hello", { heartbeat: 15000, channels: [{ channel: "news", position: "e.1" }] }, "_abc~*e~news@1~-1.1");
  await say("mail", "private", "_abc~*e~news@1~-1.2");
  await say("news", "public", "_abc~*e~news@2~-1.2");
  assert.deepEqual(heard, { letters: ["private"], news: ["public"] });
});

test("of two channels of the site with one event name each hears its own values", async t => {
  const { heard, hear, say } = await lead(t, []);
  for (const name of ["red", "blue"]) {
    await hear(name);
    await say("comet:hello", { heartbeat: 15000, channels: [{ channel: name, event: "ink", position: "e.1" }] }, name === "red" ? "_abc~*e~red@1" : "_abc~*e~red@1~blue@1");
  }
  await say("ink", 1, "_abc~*e~red@2~blue@1");
  await say("ink", 2, "_abc~*e~red@2~blue@2");
  assert.deepEqual(heard, { red: [1], blue: [2] });
});

test("a hello for a page that has left is passed over", async t => {
  const { heard, hear, say } = await lead(t, [{ channel: "mine" }]);
  await hear("mine");
  await say("comet:hello", { heartbeat: 15000, channels: [{ channel: "late@7" }, { channel: "more" }] }, "_abc~-1.1");
  await hear("more");
  await say("more", "value", "_abc~-1.2");
  assert.deepEqual(heard, { more: ["value"] });
});

test("a tab that needs a site channel goes elsewhere where the leader has a private one of that name", async t => {
  const { say } = await lead(t, []), said = [];
  const radio = new BroadcastChannel("comet 1 /comet group 0");
  t.after(() => radio.close());
  radio.onmessage = ({ data }) => said.push(data);
  await say("comet:hello", { heartbeat: 15000, channels: [{ channel: "late" }] }, "_abc~-1.1");
  radio.postMessage({ type: "need", from: "tab", name: "late", at: "e.1" });
  for (let n = 0; n < 100 && !said.some(m => m.type === "refused"); n++) await settled();
  assert.deepEqual(said.filter(m => m.type === "refused").map(m => m.to), ["tab"]);
});
