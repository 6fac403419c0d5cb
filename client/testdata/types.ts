// What a page may write, and what it may not: tsc --strict judges it.
import { connect, ChannelClosed, ChannelFull, ProcessGone, type Comet, type State } from "../comet.js";

import { connect as share, ProcessGone as Gone } from "../comet-shared.js";

import { sending, SendRefused } from "../comet-send.js";

interface Message { text: string }
interface Channels { chat: Message; unread: number; html: string }

export async function example(url: string): Promise<void> {
  const comet: Comet<Channels> = connect<Channels>(url, { idleAfter: 60_000, idlePoll: null, retry: [100, 1000], retries: 3 });
  comet.addEventListener("state", e => {
    const state: State = e.detail.state;
    console.log(state, e.detail.why, e.detail.inMs?.toFixed());
  });
  comet.addEventListener("error", e => {
    if (e.error instanceof ProcessGone) location.reload();
  });
  try {
    for await (const { text } of comet.channel("chat")) console.log(text.trim());
  } catch (e) {
    if (e instanceof ChannelFull) console.log(e.channel, e.reason, e.resume?.length);
    else if (e instanceof ChannelClosed) console.log(e.reason);
  }
  comet.channel("chat").addEventListener("message", e => console.log(e.data.text, e.lastEventId));
  comet.channel("chat").addEventListener("error", e => console.log(e.error.message));
  const unread: number = await comet.channel("unread").pull();
  comet.channel("html", { parse: String, from: "-20" }).close();
  comet.activate();
  comet.restart();
  comet.close();

  // @ts-expect-error: no such channel
  comet.channel("chatt");
  // @ts-expect-error: another type
  const wrong: string = await comet.channel("unread").pull();
  // @ts-expect-error: no such option
  connect(url, { idle: 1 });
  // @ts-expect-error: no such event
  comet.channel("chat").addEventListener("mesage", () => {});
  // @ts-expect-error: parse gives something else
  comet.channel("chat", { parse: Number });
  // @ts-expect-error: what is observed is not to be set
  comet.state = "open";
  console.log(unread, wrong);

  const shared: Comet<Channels> = share<Channels>(url);
  console.log(shared.state, Gone === ProcessGone);

  const untyped = connect(url);
  for await (const value of untyped.channel("anything")) console.log(value);
}

export async function sends(comet: Comet<Channels>): Promise<void> {
  const send = sending<{ chat: { draft: string }; votes: number }>(comet);
  try {
    await send("chat", { draft: "hello" });
    await send("votes", 1, 2, 3);
  } catch (e) {
    if (e instanceof SendRefused) console.log(e.inbox, e.status.toFixed(), e.value.toFixed(), e.taken.toFixed(), e.message);
  }
  const limit: number = comet.options.queue;
  console.log(comet.url.length, limit);
  // @ts-expect-error: no such inbox
  send("chatt", { draft: "hello" });
  // @ts-expect-error: another type
  send("chat", "hello");
  // @ts-expect-error: of several values, one of another type
  send("votes", 1, "2");
  // @ts-expect-error: no value
  send("votes");
  await sending(comet)("anything", { at: "all" });
}
