// Measures how probes of comet.Doctor arrive (doctor/protocol.go), and shows what
// the server makes of it.
const show = id => document.getElementById(id);
const patience = 5000;
const newID = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, "0")).join("");
const pause = ms => new Promise(done => setTimeout(done, ms));
const within = (ms, promise) => Promise.race([promise, pause(ms)]);

function address(query) {
  const url = new URL(location.href);
  url.hash = "";
  for (const name in query) url.searchParams.set(name, query[name]);
  return url.href;
}
const ask = async (query, options) => {
  const response = await fetch(address(query), { cache: "no-store", ...options });
  if (!response.ok) throw new Error("it was answered " + response.status);
  return response.json();
};

// trip is how long a request takes, at best.
async function trip(m) {
  for (let i = 0; i < 4; i++) {
    const begun = performance.now();
    await ask({ seen: 1 });
    const took = performance.now() - begun;
    if (i > 0) m.trip = m.trip ? Math.min(m.trip, took) : took;
  }
}

// headers of an event stream, which an EventSource does not show.
async function headers(m) {
  const stop = new AbortController();
  const response = await within(patience, fetch(address({ probe: newID(), phase: "open" }), { cache: "no-store", signal: stop.signal }).catch(e => {
    m.error = String(e);
  }));
  if (response) {
    m.status = response.status;
    response.headers.forEach((value, name) => {
      m.header[name.replace(/(^|-)[a-z]/g, letter => letter.toUpperCase())] = value;
    });
  } else if (!m.error) { // not even the headers came
    m.status = 200;
    m.header["Content-Type"] = "text/event-stream";
  }
  stop.abort();
  const url = performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol).find(Boolean);
  m.protocol = url ?? "";
}

// first is when the first event of an event stream comes, at best.
async function first(m) {
  for (let i = 0; i < 3; i++) {
    const begun = performance.now(), source = new EventSource(address({ probe: newID(), phase: "open" }));
    const took = await within(patience, new Promise(done => source.addEventListener("hello", () => done(performance.now() - begun))));
    source.close();
    if (took) m.first = m.first ? Math.min(m.first, took) : took;
  }
}

// ticks hears all of them and the end, and how the browser comes back by itself.
function ticks(m) {
  return new Promise(done => {
    const id = newID(), begun = performance.now();
    const source = new EventSource(address({ probe: id, phase: "ticks" }));
    let last = "";
    const finish = () => {
      clearTimeout(timer);
      source.close();
      done(id);
    };
    const timer = setTimeout(finish, 2000 + 2 * patience);
    source.addEventListener("open", () => { m.opened ||= performance.now() - begun; });
    source.addEventListener("hello", e => {
      const seen = JSON.parse(e.data);
      if (!m.seen) {
        m.seen = seen;
        return;
      }
      m.returned = { said: last, arrived: seen.lastEventId ?? "" };
      finish();
    });
    source.addEventListener("tick", e => {
      last = e.lastEventId;
      m.ticks.push({ sent: JSON.parse(e.data).at, heard: performance.now() - begun });
    });
    source.addEventListener("error", () => {
      if (m.seen) m.end = "clean"; // a cut cannot be told from it here
      if (source.readyState === EventSource.CLOSED) finish();
    });
  });
}

// left asks whether the server has seen the EventSource of ticks close.
async function left(m, id) {
  for (const end = performance.now() + patience; performance.now() < end; await pause(100)) {
    m.left = await ask({ left: id });
    if (m.left.left) return;
  }
}

async function command(m) {
  const response = await fetch(address({ command: 1 }), { method: "POST", body: "pull=x" });
  m.command = { status: response.status, seen: response.ok ? await response.json() : null };
}

function idle(m) {
  return new Promise(done => {
    const source = new EventSource(address({ probe: newID(), phase: "idle" }));
    m.idle = { beats: 0, silence: 0, finished: false };
    let last = performance.now();
    const finish = () => {
      clearTimeout(timer);
      source.close();
      m.idle.silence = performance.now() - last;
      m.idle.finished = m.idle.beats === 2;
      done();
    };
    const timer = setTimeout(finish, 2 * m.seen.heartbeat + 2 * patience);
    source.addEventListener("beat", () => {
      last = performance.now();
      m.idle.beats++;
    });
    source.addEventListener("error", finish);
  });
}

async function measure() {
  const m = { url: location.href, trip: 0, opened: 0, first: 0, protocol: "", status: 0, error: "", header: {}, seen: null, ticks: [], end: "never" };
  const state = text => { show("state").textContent = text; };
  state("Measuring how long a request takes…");
  await trip(m);
  await headers(m);
  state("Hearing events…");
  const id = await ticks(m);
  if (m.seen) {
    await first(m);
    state("Leaving, and sending a command…");
    if (m.returned) await left(m, id + "");
    await command(m);
    if (show("idle").checked) {
      state(`Being silent for ${Math.round(m.seen.heartbeat / 500)} s…`);
      await idle(m);
    }
  }
  show("measured").textContent = JSON.stringify(m, null, 2);
  const found = (await ask({ judge: 1 }, { method: "POST", body: JSON.stringify(m) })) ?? [];
  show("findings").replaceChildren(...found.map(finding));
  state(found.some(f => f.fault) ? "Event streams do not arrive as they were written." : "Event streams arrive as they were written.");
}

function finding(f) {
  const item = document.createElement("li");
  item.append((f.fault ? "Fault: " : "Note: ") + f.what);
  const remedies = document.createElement("ul");
  for (const who in f.remedies ?? {}) {
    const remedy = document.createElement("li"), code = document.createElement("code");
    code.textContent = f.remedies[who];
    remedy.append(who + ": ", code);
    remedies.append(remedy);
  }
  if (remedies.childElementCount) item.append(remedies);
  return item;
}

show("measure").addEventListener("click", async () => {
  show("measure").disabled = true;
  try {
    await measure();
  } catch (e) {
    show("state").textContent = "It could not be told: " + e.message;
  }
  show("measure").disabled = false;
});
