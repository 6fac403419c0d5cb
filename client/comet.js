// comet.js hears Comet's channels on one EventSource. README.md beside it says how to use it; what it goes by is in the
// repository's docs/events.md and docs/commands.md.

class ChannelError extends Error {
  constructor(channel, reason) {
    super(`channel ${channel}: ${reason}`);
    this.channel = channel;
    this.reason = reason;
  }
}

/** The channel was closed, failed, or is not to be had: reason says which. */
export class ChannelClosed extends ChannelError {
  name = "ChannelClosed";
}

/** The page's client process is gone, and with it all of its private channels. */
export class ProcessGone extends ChannelClosed {
  name = "ProcessGone";
}

/** Values are missing here. A site channel goes on, after the position resume; of a private one this is the last. */
export class ChannelFull extends ChannelError {
  name = "ChannelFull";
  constructor(channel, reason, resume) {
    super(channel, reason);
    this.resume = resume;
  }
}

// A channel's home is what its page's Comet and the channel say to each other: the Comet calls take and wants, the
// channel ask and leave. An item that take gets has a value, or an error, or is the end; final tells that none follows.

class Channel extends EventTarget {
  #home;
  #kept = []; // what came before anybody read or listened
  #readers = new Set(); // one for each for await: its items, and how to wake it where it waits
  #pulls = []; // promises of pull()
  #listened = false;
  #over; // the last item

  constructor(home) {
    super();
    this.name = home.name;
    this.#home = home;
    home.take = item => this.#take(item);
    home.wants = () => this.#pulls[0] || [...this.#readers].some(reader => reader.wake);
  }

  pull() {
    return new Promise((...pull) => {
      if (this.#over) return this.#answer(pull, this.#over);
      this.#pulls.push(pull);
      this.#home.ask();
    });
  }

  close() {
    if (this.#over) return;
    this.#home.leave();
    this.#take({ final: true });
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest);
    if (type !== "message" || this.#listened) return;
    this.#listened = true;
    queueMicrotask(() => this.#kept.splice(0).forEach(item => this.#say(item)));
  }

  async *[Symbol.asyncIterator]() {
    const items = this.#kept.splice(0), reader = { items };
    let left = false; // by its loop, and not by what it heard
    this.#readers.add(reader);
    try {
      for (;;) {
        const item = items.shift() ?? this.#over;
        if (item) {
          if (item.error) throw item.error;
          if (item.final) return;
          left = true;
          yield item.value;
          left = false;
        } else {
          await new Promise(wake => {
            reader.wake = wake;
            this.#home.ask();
          });
          reader.wake = null;
        }
      }
    } finally {
      this.#readers.delete(reader);
      if (!this.#readers.size && !this.#listened) {
        if (left) this.close();
        else this.#kept.push(...items); // for the loop that goes on
      }
    }
  }

  #take(item) {
    const { pull } = this.#home;
    if (this.#over) return;
    if (item.final) this.#over = item;
    for (const pull of this.#pulls.splice(0)) this.#answer(pull, item);
    if (!this.#listened && !this.#readers.size && !pull && !item.final) return this.#keep(this.#kept, item);
    this.#say(item);
    for (const { items, wake } of this.#readers) {
      // What was pulled is for those who asked: for anybody else it would be stale by the time of their step.
      if (!item.final && (wake || !pull)) this.#keep(items, item);
      wake?.();
    }
  }

  #answer([resolve, reject], item) {
    if ("value" in item) resolve(item.value);
    else reject(item.error ?? closing(this.name, "end"));
  }

  #keep(items, item) {
    if (items.length >= this.#home.queue) {
      items.length = 0;
      item = { error: new ChannelFull(this.name, "slow") };
    }
    items.push(item);
  }

  #say({ value, error, id, final }) {
    this.dispatchEvent(error ? failure(error) : final ? new Event("end") : new MessageEvent("message", { data: value, lastEventId: id }));
  }
}

function closing(channel, reason) {
  return new (reason === "gone" ? ProcessGone : ChannelClosed)(channel, reason);
}

function failure(error) {
  return Object.assign(new Event("error"), { error });
}

const defaults = {
  idleAfter: 180_000, // ms that the page stays connected after it was hidden; Infinity: always
  idlePoll: [0.5, 60_000, 600_000], // a, b, c: T ms after it became idle, the next look is min(aT + b, c) ms away; null: none
  retry: [500, 30_000], // ms: the first pause after a failure, and the longest
  retries: Infinity, // failures in a row after which it waits to be wanted
  stall: 2, // heartbeats of silence that mean a dead connection
  queue: 1000, // values that wait for a for await
  withCredentials: false,
  parse: JSON.parse,
  EventSource: globalThis.EventSource,
};

const controls = ["hello", "hb", "full", "end", "closed", "gone", "superseded", "away"];

export class Comet extends EventTarget {
  state = "paused"; // until the constructor has looked
  why = "";
  #source = null;
  #last = ""; // the newest id
  #phase = 0; // of the source: 1 when it is open, 2 after its hello, 3 with the page's own process, 0 again when it fails
  #homes = new Map();
  #heard = new Map(); // what hello said of each channel
  #without; // why there is none
  #failures = 0;
  #silence = 30_000;
  #away = false; // between pagehide and pageshow, freeze and resume
  #idleSince = 0;
  #timer; // of the watchdog, or of the next attempt
  #hiding;
  #life = new AbortController();

  constructor(url, options) {
    super();
    this.url = url;
    this.#without = /[?&]p=/.test(url) ? "" : "unavailable";
    this.options = { ...defaults, ...options };
    for (const type of ["visibilitychange", "pagehide", "pageshow", "freeze", "resume", "online"]) {
      addEventListener(type, this.#page, { signal: this.#life.signal, capture: true }); // on their way to the document
    }
    this.#look();
  }

  channel(name, { from = "-0", parse = this.options.parse } = {}) {
    let home = this.#homes.get(name);
    if (home) return home.channel;
    home = {
      name, from, parse, queue: this.options.queue, pulls: 0,
      ask: () => this.#ask(home),
      leave: () => this.#leave(home),
    };
    home.channel = new Channel(home);
    this.#homes.set(name, home);
    if (this.#phase > 1) queueMicrotask(() => this.#settle(home));
    if (this.state === "closed") this.#lose(name, closing(name, this.why));
    return home.channel;
  }

  restart() {
    if (this.state === "closed") return;
    this.#failures = 0;
    this.#set("connecting");
    this.#open();
    this.#look();
  }

  activate() {
    if (this.state === "open") this.#look();
    else this.restart();
  }

  close() {
    this.#finish("closed");
  }

  // ---- The connection.

  // Idle, it looks what there is; otherwise it stays.
  #open() {
    this.#shut();
    if (this.state === "closed") return; // by a listener
    this.#phase = 0;
    // The process stays with the page that superseded this one: a new EventSource would take it back. No item follows its own.
    if (this.#without) this.#last = this.#last.replace(/~-.*/, "~-");
    const { EventSource, withCredentials } = this.options;
    const source = this.#source = new EventSource(
      this.url + "&pull=ask" + (this.state === "idle" ? "&wait=no" : "") + (this.#last && "&after=" + encodeURIComponent(this.#last)),
      { withCredentials },
    );
    source.onopen = () => (this.#phase = 1);
    // WebKit opens a source again that was closed when its page comes out of the back-forward cache.
    source.onerror = () => (source === this.#source ? this.#failed() : source.close());
    for (const name of controls) source.addEventListener("comet:" + name, this.#hear);
    this.#watch();
  }

  #shut() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  // The first reconnect is left to the browser: it knows from the server when. So a close that the server planned is no failure.
  #failed() {
    if (this.#source.readyState) return this.#again("refused");
    if (!this.#phase || this.state === "idle") return this.#again("lost");
    this.#phase = 0;
    this.#set("connecting", "lost");
  }

  #again(why) {
    if (this.state === "idle") return this.#idle();
    this.#shut();
    if (this.#failures >= this.options.retries) return this.#stop("paused", why);
    const pause = this.#pause(this.#failures++);
    this.#timer = setTimeout(() => this.#open(), pause);
    this.#set("connecting", why, pause);
  }

  #pause(failures) {
    const [first, most] = this.options.retry;
    return Math.min(most, first * 2 ** (failures / 2)) * (0.75 + Math.random() / 2);
  }

  // A planned absence is no silence.
  #watch(absence = 0) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again("stalled"), this.#silence + absence);
  }

  #stop(state, why) {
    clearTimeout(this.#hiding);
    this.#shut();
    this.#set(state, why);
  }

  #finish(why, error) {
    if (this.state === "closed") return;
    this.#stop("closed", why);
    this.#life.abort();
    for (const name of this.#homes.keys()) this.#lose(name, error && closing(name, why));
  }

  #set(state, why = "", inMs) {
    if (state === this.state && why === this.why && !inMs) return;
    Object.assign(this, { state, why });
    this.dispatchEvent(new CustomEvent("state", { detail: { state, why, inMs } }));
  }

  // ---- The page: what Eliom's client does when it is hidden.

  #page = ({ type }) => {
    if (type === "pagehide" || type === "freeze") {
      this.#away = true;
      this.#stop("paused", type);
    } else if (!(this.#away &&= type !== "pageshow" && type !== "resume")) { // a page that leaves is hidden, too
      if (type === "online" && this.state === "connecting") this.restart();
      else this.#look();
    }
  };

  #look() {
    clearTimeout(this.#hiding);
    const { idleAfter } = this.options;
    if (!document.hidden || idleAfter === Infinity) {
      if (this.state === "idle" || !this.#source) this.restart();
    } else if (this.state === "paused") this.#idle(true);
    else if (this.state !== "idle") this.#hiding = setTimeout(() => this.#idle(), idleAfter);
  }

  #idle(now) {
    const poll = this.options.idlePoll;
    if (this.state !== "idle") this.#idleSince = Date.now();
    this.#stop(poll ? "idle" : "paused", "hidden");
    if (this.state !== "idle") return;
    const [a, b, c] = poll;
    this.#timer = setTimeout(() => this.#open(), now ? 0 : Math.min(a * (Date.now() - this.#idleSince) + b, c));
  }

  // ---- What is heard.

  #hear = ({ type, data, lastEventId: id }) => {
    this.#last = id || this.#last;
    this.#watch();
    if (type.startsWith("comet:")) return data && this.#control(type.slice(6), JSON.parse(data));
    for (const [name, { event }] of this.#heard) {
      const home = this.#homes.get(name);
      if (event !== type || !home) continue;
      home.asking = false;
      try {
        home.take({ value: home.parse(data), id });
      } catch (error) {
        home.take({ error });
      }
    }
  };

  #control(type, notice) {
    const { channel, process, reason, resume, final } = notice;
    const home = this.#homes.get(channel);
    if (type === "hello") return this.#hello(notice);
    if (type === "away") return this.#watch(notice.retry);
    if (process) {
      if (this.#without) return; // each event stream says it again
      this.#phase = 2;
      this.#without = type;
      for (const name of this.#homes.keys()) {
        if (!this.#heard.get(name)?.position) this.#lose(name, closing(name, type));
      }
      this.dispatchEvent(failure(closing("", type)));
    } else if (!channel) {
      this.dispatchEvent(failure(closing("", reason)));
      return this.#finish(reason, true);
    } else if (type === "full") {
      home?.take({ error: new ChannelFull(channel, reason, resume), final });
      if (!final) return;
      this.#lose(channel);
    } else if (this.#heard.get(channel)?.left) {
      this.#heard.delete(channel);
      if (home) this.#settle(home);
    } else this.#lose(channel, reason === "end" ? null : closing(channel, reason));
    this.#over(process ? type : reason);
  }

  #hello({ heartbeat, processes = [], channels = [] }) {
    this.#silence = heartbeat * this.options.stall;
    this.#watch();
    if (this.#phase < 2) {
      this.#phase = 2;
      this.#failures = 0;
      this.#heard.clear();
    }
    for (const own of processes) {
      if (own.k) continue;
      this.#phase = 3;
      channels = [...(own.channels ?? []), ...channels];
    }
    for (const heard of channels) {
      heard.event = (heard.event ?? heard.channel) || "message";
      this.#heard.set(heard.channel, heard);
      this.#source.addEventListener(heard.event, this.#hear); // also what no reader asks for: its ids count
    }
    if (this.state !== "idle") this.#set("open");
    for (const home of this.#homes.values()) this.#settle(home);
  }

  // over ends what has nothing left to hear.
  #over(why) {
    if (!this.#without || [...this.#heard.values()].some(heard => heard.position)) return;
    this.#finish(why, true);
  }

  #lose(name, error) {
    this.#heard.delete(name);
    this.#homes.get(name)?.take({ error, final: true });
    this.#homes.delete(name);
  }

  // ---- What is asked.

  // settle has a channel heard that the event stream does not carry, and asks for what its readers wait for.
  async #settle(home) {
    const { name, from } = home;
    const heard = this.#heard.get(name);
    home.pull = heard?.pull;
    if (heard) return this.#ask(home); // of one that was left, nothing is asked until the server has said so
    // Where nothing at all is heard, what comes next says why.
    if (this.#phase < 3) return this.#without && this.#heard.size && this.#lose(name, closing(name, this.#without));
    this.#heard.set(name, {}); // until the next event stream's hello, which may not know it
    const { state, position } = await this.#command({ register: `${name}@${from}` });
    home.from = position ?? from;
    if (!state || state === "closed") this.#lose(name, closing(name, "unavailable"));
  }

  async #ask(home) {
    if (home.asking || !home.pull || this.state !== "open" || !home.wants()) return;
    home.asking = true;
    for (let n = ++home.pulls; n === home.pulls;) {
      // The number makes a repetition harmless; another page of this process may have pulled besides.
      const { expected } = await this.#command({ pull: home.name, n });
      if (!expected) return;
      if (n === home.pulls) n = home.pulls = expected;
    }
  }

  #leave({ name }) {
    this.#homes.delete(name);
    if (this.#without) return;
    this.#heard.set(name, { left: true });
    this.#command({ close: name });
  }

  // command is sent until it is answered: every one of them may be repeated.
  async #command(form) {
    const shared = await this.#source?.command?.(form);
    if (shared) return shared;
    for (let failures = 0; this.state !== "closed"; failures++) {
      try {
        const answer = await fetch(this.url, { method: "POST", body: new URLSearchParams(form), keepalive: true, credentials: "include" });
        const body = await answer.json();
        if (answer.status < 409 || answer.status === 410 || body.expected) return body;
      } catch {
        // Not reached, or not answered by Comet.
      }
      await new Promise(done => setTimeout(done, this.#pause(failures)));
    }
    return {};
  }
}

/** connect hears what the URL says that comet.Open gave. */
export function connect(url, options) {
  return new Comet(url, options);
}
