// comet-shared.js is comet.js for pages that are open many times over: those of one session share one event stream. Its
// leader, whoever has a lock, attaches the processes of the others to its own event stream and hands on what is heard. Every
// page knows by itself how far it is, from the ids (docs/events.md, "Sharing"), so that nothing depends on the leader's memory:
// the next one opens an event stream from where it is itself, and has the others attached from where they are.

import { connect as alone } from "./comet.js";

export * from "./comet.js";

/** connect is comet.js's. Where pages cannot share, each has an event stream of its own. */
export function connect(url, options) {
  const place = globalThis.BroadcastChannel && navigator.locks && Place.of(url);
  if (!place) return alone(url, options);
  return alone(url, {
    ...options,
    EventSource: function (url, init) {
      return url.includes("&wait=no") ? new Look(place, init) : new Share(place, init);
    },
  });
}

const version = 1; // of what pages say to each other: those of two versions of this file share nothing
const patience = 3000; // ms that a leader may take to answer, or it is taken for frozen

// ---- Positions: EPOCH.SEQ, with an engine's tag after it. Numbers are base 36 without leading zeros.

const order = (a, b) => a.length - b.length || (a < b ? -1 : +(a > b));

// covers reports whether who begins at from hears everything that follows own.
function covers(from, own) {
  const [epoch, at] = from.split("."), [ownEpoch, ownAt] = own.split(".");
  return epoch === ownEpoch && order(at, ownAt) <= 0;
}

const epochOf = at => at.split(".")[0];

// A Place is how far a page is. It outlives its event streams.
class Place {
  gone = false; // the page's process is, or has another page
  heartbeat = 15_000; // ms, as the server said last
  next; // is told which Share is the next one
  index = 0; // of the event streams of the session's pages: one carries 16 processes

  // of returns null for a URL that cannot be shared: without a process, of another origin, or not as comet.Open writes it.
  static of(url) {
    const place = new Place();
    place.url = new URL(url, location.href);
    const { origin, pathname, searchParams: query } = place.url;
    const channels = query.getAll("c").map(channel => channel.split("@"));
    if (origin !== location.origin || !query.has("g") || channels.some(([, at]) => !/^\w+\.\w/.test(at))) return null;
    [place.token, place.number = "0"] = query.get("p").split(".");
    place.sites = new Map(channels);
    place.name = `comet ${version} ${pathname} ${query.get("g")}`;
    return place;
  }

  // address is a URL to go on from here, with more channels to hear.
  address(more = []) {
    const url = new URL(this.url), { searchParams: query } = url;
    for (const name of ["c", "p"]) query.delete(name);
    if (!this.gone) query.set("p", this.process());
    for (const [name, at] of new Map([...this.sites, ...more])) query.append("c", `${name}@${at}`);
    query.set("pull", "ask");
    return url;
  }

  process() {
    return this.token + (this.number === "0" ? "" : "." + this.number);
  }
}

// A Feed is an EventSource whose events are told with the page or channel that they are for: token or site, and the number n or
// the position at which that is then. Values are told by channels: those whose they are, whatever their events' names.
class Feed {
  at = new Map(); // positions of the site channels
  numbers = new Map(); // of the processes, by token
  slots = new Map(); // the processes' tokens, by k
  #from;
  #names;
  #sites = new Map(); // the types of the events that bring each site channel's values
  #private = new Map(); // those of each process's private channels, by token
  #source;
  #to;

  // to has take(message), greet(hello, whole) and fail().
  constructor(url, { token, number }, init, to) {
    const channels = url.searchParams.getAll("c").map(channel => channel.split("@"));
    this.#names = channels.map(([name]) => name);
    this.#from = new Map(channels);
    this.at = new Map(channels);
    this.numbers.set(token, number);
    this.slots.set("0", token);
    this.#to = to;
    const source = this.#source = new EventSource(url, init);
    let whole = true;
    source.onopen = () => (whole = true);
    source.onerror = () => to.fail();
    source.addEventListener("comet:hello", e => {
      this.#move(e.lastEventId);
      this.#greet(JSON.parse(e.data), whole);
      whole = false;
    });
    for (const name of ["hb", "away"]) source.addEventListener("comet:" + name, e => to.take({ event: e.type, data: e.data }));
    for (const name of ["full", "end", "closed", "gone", "superseded"]) source.addEventListener("comet:" + name, this.#control);
  }

  get readyState() {
    return this.#source.readyState;
  }

  close() {
    this.#source.onerror = this.#source.close; // as in comet.js
    this.#source.close();
  }

  // listen hears everything that the event stream carries, so that no place moves unseen.
  #listen(types, { channel, event = channel }, k) {
    const type = +k ? `${event || channel}@${k}` : event || "message";
    types.set(channel, type);
    this.#source.addEventListener(type, this.#value);
  }

  #value = ({ type, data, lastEventId }) => {
    const moves = this.#move(lastEventId), site = moves.find(moved => this.#sites.get(moved.site) === type);
    if (site) return this.#tell(moves, site, { channels: [site.site], data });
    const token = this.slots.get(type.split("@")[1] ?? "0"), channels = [];
    for (const [channel, of] of this.#private.get(token) ?? []) if (of === type) channels.push(channel);
    this.#tell(moves, moves.find(moved => moved.token === token) ?? { token }, { channels, data });
  };

  #control = ({ type, data, lastEventId }) => {
    const notice = JSON.parse(data), { resume, final } = notice;
    const [channel, k = "0"] = (notice.channel ?? "").split("@");
    const isSite = this.at.has(channel), token = notice.process ?? this.slots.get(k), moves = this.#move(lastEventId);
    const own = moves.find(moved => moved.token === token);
    if (notice.process) {
      this.numbers.delete(token);
      this.#private.delete(token);
    }
    if (notice.process || !channel) this.#tell(moves, { token }, { event: type, data });
    else if (k !== "0" || own && !isSite) {
      if (final) this.#private.get(token)?.delete(channel);
      this.#tell(moves, own ?? { token }, { event: type, data: JSON.stringify({ ...notice, channel }) });
    } else {
      if (final) this.at.delete(channel);
      this.#tell(moves, { site: channel }, { event: type, data, at: resume, final });
    }
  };

  // tell tells whose an event is. What moved besides did so without an event, such as by what nobody has to hear of a channel that ended.
  #tell(moves, whose, message) {
    for (const moved of moves) if (moved.site !== whose.site || moved.token !== whose.token) this.#to.take(moved);
    this.#to.take({ ...message, ...whose });
  }

  #greet(hello, whole) {
    for (const { process, k, channels = [] } of hello.processes ?? []) {
      const types = new Map();
      this.slots.set(String(k), process);
      this.#private.set(process, types);
      for (const channel of channels) this.#listen(types, channel, k);
    }
    for (const token of hello.removed ?? []) {
      this.numbers.delete(token);
      this.#private.delete(token);
    }
    for (const greeted of hello.channels ?? []) {
      const [channel, k = "0"] = greeted.channel.split("@"), event = greeted.event?.split("@")[0];
      const types = whole || greeted.position ? this.#sites : this.#private.get(this.slots.get(k));
      if (types) this.#listen(types, { channel, event }, k); // of a page that has left there are none
    }
    this.#to.greet(hello, whole);
  }

  // move reads an id: among what it says that was not so before is where the event belongs.
  #move(id) {
    const moves = [];
    let epoch = "";
    const site = (name, at) => {
      if (this.at.get(name) !== at) moves.push({ site: name, at });
      this.at.set(name, at);
    };
    const process = (token, n) => {
      if (this.numbers.get(token) !== n) moves.push({ token, n });
      this.numbers.set(token, n);
    };
    for (const item of id.split("~").slice(1)) {
      const [first, ...rest] = item.slice(1).split(".");
      if (item[0] === "*") epoch = first;
      else if (item[0] === "!") this.at.delete(this.#names[parseInt(first, 36)]);
      else if (item[0] === "-") {
        if (rest.length === 1) process(this.slots.get("0"), rest[0]);
        else if (rest.length === 3) process(rest[2], rest[1]);
      } else if (item.includes("@")) {
        const [name, at] = item.split("@");
        site(name, `${epoch}.${at}`);
      } else {
        const dot = item.indexOf("."), name = this.#names[parseInt(item.slice(0, dot), 36)];
        site(name, `${epoch || epochOf(this.#from.get(name))}.${item.slice(dot + 1)}`);
      }
    }
    return moves;
  }
}

// A Port is what comet.js takes for an EventSource: it says what is news for its page, and notes how far the page is then. Values
// come under their channels' names.
class Port extends EventTarget {
  readyState = 0;
  heard = new Set(); // the site channels that come without a hole

  constructor(place) {
    super();
    this.place = place;
  }

  // open says hello: with the private channels of the page's process, if it is carried.
  open(channels) {
    const { place } = this;
    this.readyState = 1;
    this.onopen?.();
    this.say("comet:hello", {
      heartbeat: place.heartbeat,
      processes: place.gone || !channels ? [] : [{ process: place.token, k: 0, channels: channels.map(named) }],
      channels: [...place.sites].map(([channel, position]) => ({ channel, position })),
    });
  }

  say(event, data) {
    if (this.readyState === 2) return;
    this.dispatchEvent(new MessageEvent(event, { data: typeof data === "object" ? JSON.stringify(data) : data }));
  }

  fail(readyState) {
    if (this.readyState === 2) return;
    this.readyState = readyState;
    this.onerror?.();
  }

  // take takes a message of a Feed: an event, a value of channels, or only how far something is.
  take({ event, channels = [], data, site, at, token, n, sure, final }) {
    const { place } = this;
    if (site) {
      const own = place.sites.get(site);
      if (own === undefined) return;
      if (event === "comet:closed" && !sure && this.doubt?.(site, own, data)) return;
      if (event && (event !== "comet:full" || final)) place.sites.delete(site);
      else if (!this.heard.has(site) || covers(at, own) || !event && epochOf(at) !== epochOf(own)) return;
      else place.sites.set(site, at);
    } else if (token) {
      if (token !== place.token) return;
      if (event === "comet:gone" || event === "comet:superseded") {
        if (place.gone) return;
        place.gone = true;
      } else if (n !== undefined) {
        if (order(n, place.number) <= 0) return;
        place.number = n;
      }
    }
    if (event) this.say(event, data);
    for (const channel of channels) this.say(channel, data);
  }
}

const named = ({ channel, position, pull }) => ({ channel, position, pull }); // for the event's name is the channel's here

// A Look is what an idle page opens: an event stream of its own, that ends when everything was said.
class Look extends Port {
  #feed;

  constructor(place, init) {
    super(place);
    const url = place.address();
    url.searchParams.set("wait", "no");
    this.heard = new Set(place.sites.keys());
    this.#feed = new Feed(url, place, init, {
      take: message => this.take(message),
      greet: ({ heartbeat, processes: [own] = [], channels = [] }, whole) => {
        place.heartbeat = heartbeat;
        if (whole || own) return this.open(own && (own.channels ?? []));
        for (const { channel, position } of channels) {
          if (!position) continue;
          place.sites.set(channel, position);
          this.heard.add(channel);
        }
        this.say("comet:hello", { heartbeat, channels: channels.map(named) });
      },
      fail: () => this.fail(this.#feed.readyState),
    });
  }

  close() {
    this.readyState = 2;
    this.#feed.close();
  }
}

// A Share is a page's part in an event stream of many.
class Share extends Port {
  #id = crypto.randomUUID();
  #init;
  #next; // the Share after this one, if there is one
  #radio;
  #leader; // who has taken this page in
  #pending = new Set(); // channels that are being registered
  #silence; // the timer for a leader that does not answer
  #life = new AbortController();
  #done; // lets go of what says that this page is there
  #release; // lets go of the leadership
  #feed; // the leader's
  #greeted = false;
  #yielded = false;
  #tabs = new Map(); // the leader's: who else hears, by id
  #own = new Set(); // the leader's own private channels
  #moving = new Set(); // processes that are being attached
  #asked = new Set(); // site channels and the positions that an event stream without a process was opened for
  #turns = new Map(); // what is being done for each process and channel

  constructor(place, init) {
    super(place);
    this.#init = init;
    place.next?.(this);
    this.#next = new Promise(next => (place.next = next));
    this.#enter();
  }

  get #name() {
    return `${this.place.name} ${this.place.index}`;
  }

  #enter() {
    const radio = this.#radio = new BroadcastChannel(this.#name);
    radio.onmessage = ({ data }) => radio === this.#radio && this.#receive(data);
    this.#hold(this.#id, { signal: this.#life.signal }, done => {
      this.#done = done;
      this.#join();
      this.#stand();
    });
  }

  // hold has a lock for as long as its holder lives, and wants.
  #hold(name, options, held) {
    return navigator.locks.request(name, options, () => new Promise(done => (this.readyState === 2 ? done() : held(done)))).catch(() => {});
  }

  close() {
    this.readyState = 2;
    clearTimeout(this.#silence);
    this.#feed?.close();
    this.#release?.();
    this.#done?.();
    this.#life.abort();
    this.#radio.close();
  }

  // command carries out what concerns the others, too: a site channel that this page takes up or leaves.
  async command({ close, register }) {
    const { sites } = this.place;
    if (sites.delete(close)) {
      this.heard.delete(close);
      this.#want();
      this.say("comet:closed", { channel: close, reason: "closed", final: true });
      return {};
    }
    if (!register) return null;
    const name = register.split("@")[0];
    this.#pending.add(name);
    this.#want();
    const { status, state, position } = await this.#ask({ register });
    this.#pending.delete(name);
    if (!status) return this.#next.then(next => next.command({ register })); // closed before it was answered
    if (position && !sites.has(name)) { // asked for twice, it was heard since the first answer
      sites.set(name, position);
      this.say("comet:hello", { heartbeat: this.place.heartbeat, channels: [{ channel: name, position }] });
      this.doubt(name, position); // others may have had it begin elsewhere since
    }
    return { state };
  }

  // doubt: a channel that was closed may have been closed by the leader, who did not know yet that this page wants it.
  doubt(name, at, data) {
    this.heard.delete(name);
    this.#want();
    if (this.#feed) this.#need(this.#id, { name, at, data });
    else this.#post("need", { name, at, data });
    return true;
  }

  // ---- What pages say to each other.

  #post(type, message) {
    if (this.readyState < 2) this.#radio.postMessage({ ...message, type, from: this.#id });
  }

  #receive({ type, from, to, ...m }) {
    if (to && to !== this.#id) return;
    if (this.#feed) {
      if (type === "join") this.#admit(from, m.tab);
      else if (type === "want" && this.#tabs.has(from)) this.#wants(from, m.tab);
      else if (type === "need") this.#need(from, m);
      return;
    }
    if (type === "lead" || type === "rejoin") this.#join();
    else if (type === "wait") clearTimeout(this.#silence);
    else if (type === "yield") this.#stand(true);
    else if (type === "refused") this.#elsewhere();
    else if (type === "joined") this.#joined(from, m);
    else if (type === "told") this.take(m.message);
    if (from !== this.#leader) return;
    if (type === "heard") this.take(m.message);
    else if (type === "registered") this.#registered(m.channel);
    else if (type === "lost") this.fail(0);
  }

  #tab() {
    const { token, number, sites, gone } = this.place;
    return { token, process: this.place.process(), number, gone, sites: [...sites.keys(), ...this.#pending] };
  }

  #join() {
    this.#leader = null;
    this.#post("join", { tab: this.#tab() });
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#stand(true), Math.min(patience, this.place.heartbeat)); // comet.js waits for two
  }

  #want() {
    if (this.#feed) this.#tidy();
    else if (this.#leader) this.#post("want", { tab: this.#tab() });
  }

  #joined(from, { at, channels, heartbeat }) {
    this.#leader = from;
    this.place.heartbeat = heartbeat;
    this.heard.clear();
    for (const [name, own] of this.place.sites) {
      if (at[name] && covers(at[name], own)) this.heard.add(name);
      else this.#post("need", { name, at: own });
    }
    this.open(channels);
  }

  // registered: the event stream has a channel from a position on. It may be the one that this page waits for.
  #registered({ channel, position }) {
    const own = this.place.sites.get(channel);
    if (own !== undefined && covers(position, own)) this.heard.add(channel);
  }

  #elsewhere() {
    this.place.index++;
    this.#radio.close();
    this.#life.abort();
    this.#done();
    this.#life = new AbortController();
    this.#id = crypto.randomUUID();
    this.#enter();
  }

  // ---- The leader.

  // stand waits to be the leader; by force where the one that there is cannot be.
  #stand(force) {
    const held = this.#hold(this.#name, force ? { steal: true } : { signal: this.#life.signal }, done => {
      if (this.#feed) return done();
      this.#release = done;
      this.#lead();
    });
    held.then(() => this.#release && this.#depose());
  }

  // depose: another page has taken the lead, because this one did not answer.
  #depose() {
    if (this.readyState === 2) return;
    this.#feed.close();
    this.fail(2);
  }

  #lead(more) {
    clearTimeout(this.#silence);
    this.#feed?.close();
    this.#greeted = false;
    this.#leader = this.#id;
    this.#tabs.clear();
    const { place } = this;
    const url = place.address(more);
    this.heard = new Set(place.sites.keys());
    this.#feed = new Feed(url, place, this.#init, {
      take: message => {
        this.#post("heard", { message });
        this.take(message);
      },
      greet: (hello, whole) => this.#greet(hello, whole),
      fail: () => {
        this.#greeted = false;
        this.#post("lost");
        this.fail(this.#feed.readyState);
      },
    });
    this.#want();
    this.#post("lead");
  }

  #greet({ heartbeat, processes = [], channels = [], removed = [] }, whole) {
    this.place.heartbeat = heartbeat;
    this.#greeted = true;
    const carried = new Set();
    for (const { process, k, channels } of processes) {
      carried.add(process);
      const id = this.#find(process);
      // Who came while the stream was away is not as far as that was.
      if (id && whole && this.#tabs.get(id).k === undefined) this.#moving.has(process) || this.#attach(id);
      else if (id) this.#welcome(id, k, channels);
      else if (k) this.#detach(process); // its page has left meanwhile
      else {
        this.#own = new Set(channels?.map(({ channel }) => channel));
        this.open(channels ?? []);
      }
    }
    if (whole && !carried.has(this.place.token)) this.open();
    for (const channel of channels) this.#added(channel, whole);
    for (const token of removed) { // by a command of the leader before this one, which came late
      if (!this.#moving.has(token)) this.#post("rejoin", { to: this.#find(token) ?? "nobody" });
    }
    if (!whole) return;
    const own = carried.has(this.place.token);
    for (const [id, { token, gone }] of this.#tabs) {
      if (!gone && carried.has(token)) continue;
      if (own) this.#post("rejoin", { to: id });
      else if (gone || !this.#feed.numbers.has(token)) this.#attach(id);
      else this.#welcome(id, undefined, null); // the server has lost all of them, and says so next
    }
    // What was registered, and its hello lost with the connection, the browser did not ask for.
    for (const [name, at] of this.place.sites) if (!this.#feed.at.has(name)) this.doubt(name, at);
  }

  #added(greeted, whole) {
    const [channel, k] = greeted.channel.split("@");
    if (!greeted.position) this.#privately({ ...greeted, channel }, this.#feed.slots.get(k ?? "0"));
    else if (!whole) {
      this.#post("registered", { channel: greeted });
      this.#registered(greeted);
    }
  }

  // privately tells one page of its private channel.
  #privately(channel, token) {
    if (token === this.place.token) this.#own.add(channel.channel);
    const message = { event: "comet:hello", data: JSON.stringify({ heartbeat: this.place.heartbeat, channels: [named(channel)] }), token };
    this.#post("heard", { message });
    this.take(message);
  }

  #admit(id, tab) {
    this.#post("wait", { to: id });
    const { token, gone } = tab;
    const message = { event: "comet:superseded", data: JSON.stringify({ process: token, reason: "newer" }), token };
    if (!gone && token === this.place.token) {
      this.#yield(id);
      return this.take(message);
    }
    // Of a duplicated page the newer one has the process.
    const older = gone ? null : this.#find(token);
    if (older && older !== id) {
      this.#post("told", { to: older, message });
      this.#tabs.get(older).gone = true;
      if (this.#greeted) this.#welcome(older); // to the site's channels
    }
    const known = this.#tabs.has(id);
    this.#tabs.set(id, tab);
    if (!known) this.#hold(id, { signal: this.#life.signal }, done => { this.#leave(id); done(); });
    if (this.#greeted) this.#attach(id);
  }

  // attach has a process heard from where its page is, also one that is carried already: the server goes back for it.
  async #attach(id) {
    const { place } = this, { token, gone } = this.#tabs.get(id);
    if (gone) return this.#welcome(id);
    if (place.gone) return this.#yield(id);
    this.#moving.add(token);
    const { status, process } = await this.#inTurn(token, () => {
      const tab = this.#tabs.get(id); // as it is by now
      return tab ? this.#ask({ attach: `${tab.token}.${tab.number}` }) : {};
    });
    if (status === 403) this.#refuse(id);
    else if (status === 410 && process !== token) this.#yield(id); // this page's own is gone
    else if (status === 410 && this.#tabs.has(id)) {
      this.#post("told", { to: id, message: { event: "comet:gone", data: JSON.stringify({ process: token, reason: "gone" }), token } });
      this.#tabs.get(id).gone = true;
      this.#welcome(id);
    }
  }

  // inTurn does one thing after the other for a process or a channel: requests may overtake each other.
  #inTurn(what, act) {
    const turn = Promise.resolve(this.#turns.get(what)).then(act);
    this.#turns.set(what, turn);
    return turn.finally(() => this.#turns.get(what) === turn && this.#turns.delete(what));
  }

  #detach(token) {
    return this.#inTurn(token, () => this.#find(token) || this.#ask({ detach: token }));
  }

  #find(token) {
    return [...this.#tabs.keys()].find(id => this.#tabs.get(id).token === token && !this.#tabs.get(id).gone);
  }

  // yield: without a process there are no commands, so the first page that has one takes the lead; if it leaves, the next one.
  #yield(id) {
    if (this.#yielded) return;
    this.#yielded = true;
    this.#post("yield", { to: id });
    this.#hold(id, { signal: this.#life.signal }, done => {
      done();
      this.#yielded = false;
      for (const [other, { gone }] of this.#tabs) if (!gone && other !== id) this.#attach(other);
    });
  }

  #refuse(id) {
    this.#tabs.delete(id);
    this.#post("refused", { to: id });
  }

  // welcome tells a page that it is heard for, and from where.
  #welcome(id, k, channels = []) {
    this.#moving.delete(this.#tabs.get(id).token);
    this.#wants(id, { ...this.#tabs.get(id), k });
    this.#post("joined", { to: id, at: Object.fromEntries(this.#feed.at), channels, heartbeat: this.place.heartbeat });
  }

  #wants(id, tab) {
    const { k } = { ...this.#tabs.get(id), ...tab };
    this.#tabs.set(id, { ...tab, k });
    this.#tidy();
  }

  #leave(id) {
    const tab = this.#tabs.get(id);
    if (!tab) return;
    this.#tabs.delete(id);
    if (!tab.gone && this.#feed.numbers.has(tab.token)) this.#detach(tab.token);
    this.#tidy();
  }

  // need has a site channel heard from further back. Without a process there are no commands: it takes another event stream,
  // and what was asked for on one and is closed there is closed.
  async #need(from, { name, at, data = JSON.stringify({ channel: name, reason: "unavailable", final: true }) }) {
    let { gone } = this.place;
    if (!gone) {
      if (this.#own.has(name)) return this.#refuse(from);
      const { status, state, process } = await this.#inTurn(name, async () => {
        const answer = await this.#ask({ register: `${name}@${at}` });
        if (answer.state === "wanted") await this.#ask({ close: name }); // as a private one, which is not meant
        return answer;
      });
      if (state === "heard" || this.readyState === 2) return;
      if (status === 403) return this.#refuse(from);
      gone = process; // which this page is about to hear
    }
    const asked = `${name}@${at}`;
    if (gone && (!this.#asked.has(asked) || this.#feed.at.has(name))) {
      this.#asked.add(asked);
      return this.#lead([...this.#feed.at, [name, at]]);
    }
    const message = { event: "comet:closed", data, site: name, sure: true };
    if (from === this.#id) this.take(message);
    else this.#post("told", { to: from, message });
  }

  // tidy stops hearing what nobody wants any more.
  #tidy() {
    if (!this.#greeted || this.place.gone) return;
    const wanted = new Set([...this.#tab().sites, ...[...this.#tabs.values()].flatMap(({ sites }) => sites)]);
    for (const name of this.#feed.at.keys()) if (!wanted.has(name)) this.#ask({ close: name });
  }

  async #ask(form) {
    while (this.readyState < 2) {
      try {
        const { status, ...answer } = await fetch(this.place.url, { method: "POST", body: new URLSearchParams(form) }).then(
          async r => ({ ...(await r.json()), status: r.status }),
        );
        if (status < 500 && status !== 429 && (status !== 409 || form.detach || form.close)) return { ...answer, status };
      } catch {
        // Not reached: the event stream is not, either.
      }
      await new Promise(done => setTimeout(done, 500));
    }
    return {};
  }
}
