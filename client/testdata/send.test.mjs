// What comet-send.js asks for, and what it makes of the answers, by a fetch that is played here. What servers do is in e2e.
import { test, mock } from "node:test";
import assert from "node:assert/strict";

mock.timers.enable({ apis: ["setTimeout"] });
mock.method(Math, "random", () => 0.5); // no jitter
const { sending, SendRefused } = await import("../comet-send.js");

// A server gives the answers that the test wrote down, and notes what it was asked.
function play(...answers) {
  const asked = [];
  globalThis.fetch = async (url, { body }) => {
    asked.push([+body.get("n"), ...body.getAll("value").map(text => text && JSON.parse(text))]);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (!answer) throw new TypeError("no answer");
    const [status, json, header] = answer;
    return new Response(typeof json === "string" ? json : JSON.stringify(json), { status, headers: header ? { "Retry-After": header } : {} });
  };
  return asked;
}

class Comet extends EventTarget {
  url = "http://localhost/comet?p=a";
  options = { retry: [500, 30000], queue: 3 };
  state = "open";
  why = "";
  become(state, why = "") {
    Object.assign(this, { state, why });
    this.dispatchEvent(new Event("state"));
  }
}

const settle = async () => { for (let n = 0; n < 50; n++) await Promise.resolve(); await new Promise(setImmediate); };
const taken = [200, { state: "taken" }];
const refused = (status, more) => error => error instanceof SendRefused && error.status === status && Object.entries(more ?? {}).every(([key, value]) => error[key] === value);

test("one after the other, numbered by inbox, also by two functions", async () => {
  const asked = play(taken), comet = new Comet();
  const send = sending(comet);
  await Promise.all([send("a", 1), sending(comet)("a", 2, 3), send("b", 4)]);
  assert.deepEqual(asked.sort(), [[1, 1], [1, 4], [2, 2, 3]]);
});

test("what was not answered is sent again under its number, and seen is as good as taken", async () => {
  const asked = play(null, [502, "<html>"], [200, { state: "seen", n: 1 }], taken), send = sending(new Comet());
  const both = Promise.all([send("a", 1), send("a", 2)]);
  await settle();
  assert.deepEqual(asked, [[1, 1]]);
  mock.timers.tick(500);
  await settle();
  assert.deepEqual(asked, [[1, 1], [1, 1]]);
  mock.timers.tick(707);
  await settle();
  mock.timers.tick(1);
  await both;
  assert.deepEqual(asked, [[1, 1], [1, 1], [1, 1], [2, 2]]);
});

test("a request that the browser repeated by itself is seen, and not sent again", async () => {
  const asked = play([200, { state: "seen", n: 1 }], taken), send = sending(new Comet());
  await send("a", 1);
  await send("a", 2);
  assert.deepEqual(asked, [[1, 1], [2, 2]]);
});

test("the server says when: in milliseconds, or by Retry-After alone", async () => {
  const asked = play([429, { error: "too fast", retry: 1500 }, "2"], [503, "busy", "3"], taken), send = sending(new Comet());
  const done = send("a", 1);
  await settle();
  mock.timers.tick(1499);
  await settle();
  assert.equal(asked.length, 1);
  mock.timers.tick(1);
  await settle();
  assert.equal(asked.length, 2);
  mock.timers.tick(2999);
  await settle();
  assert.equal(asked.length, 2);
  mock.timers.tick(1);
  await done;
});

test("when the event stream is back it is tried at once", async () => {
  const asked = play(null, taken), comet = new Comet();
  comet.state = "connecting";
  const done = sending(comet)("a", 1);
  await settle();
  comet.become("open");
  await done;
  assert.equal(asked.length, 2);
});

test("a refusal rejects, its number is free, and what follows goes on", async () => {
  const asked = play([422, { error: "too long", value: 1 }], taken), send = sending(new Comet());
  const first = send("a", 1), second = send("a", 2);
  await assert.rejects(first, refused(422, { value: 1, taken: 0, message: "too long" }));
  await second;
  assert.deepEqual(asked, [[1, 1], [1, 2]]);
});

test("what was taken of a refused command is passed over in the next", async () => {
  const asked = play([422, { error: "no", value: 3, taken: 2 }], [422, { error: "no", value: 3, taken: 2 }], taken), send = sending(new Comet());
  await assert.rejects(send("a", 1, 2, 3), refused(422, { value: 3, taken: 2 }));
  await assert.rejects(send("a", 4), refused(422, { value: 1, taken: 0 }));
  await send("a", 5);
  await send("a", 6);
  assert.deepEqual(asked, [[1, 1, 2, 3], [1, "", "", 4], [1, "", "", 5], [2, 6]]);
});

test("numbers that another page of the process used, or that the server forgot", async () => {
  const asked = play([200, { state: "seen", n: 4 }], taken, [409, { error: "not next", expected: 1 }], taken), send = sending(new Comet());
  await send("a", 1);
  await send("a", 2);
  assert.deepEqual(asked, [[1, 1], [5, 1], [6, 2], [1, 2]]);
});

test("close ends it, and no more wait than are allowed", async () => {
  play(null);
  const comet = new Comet(), send = sending(comet);
  const waiting = [send("a", 1), send("a", 2), send("a", 3)];
  await assert.rejects(send("a", 4), refused(0, { message: "3 sends wait already" }));
  const rejected = waiting.map(done => assert.rejects(done, refused(0)));
  await settle();
  comet.become("closed", "closed");
  await Promise.all(rejected);
});

test("an answer that is not Comet's, and helps nobody to try again", async () => {
  play([404, "not found"]);
  await assert.rejects(sending(new Comet())("a", 1), refused(404, { message: "answered 404" }));
});

test("what JSON cannot say is refused by the promise", async () => {
  await assert.rejects(sending(new EventTarget())("chat", 1n), TypeError);
});
