// Shows what comet.Inspect answers, once a second while the page is seen. What comes
// from outside, such as names, is only ever text.
const every = 1000;
const show = id => document.getElementById(id);
let open = decodeURIComponent(location.hash.slice(1));
let last; // the answer before, for rates

function address(query) {
  const url = new URL(location.href);
  url.hash = url.search = "";
  for (const name in query) url.searchParams.set(name, query[name]);
  return url.href;
}

const number = n => n.toLocaleString("en");
const cell = (tag, content) => {
  const e = document.createElement(tag);
  e.append(content instanceof Node ? content : String(content));
  return e;
};

// put shows something in a cell. What it shows already stays as it is: under a mouse that is being pressed, and
// where somebody selects.
function put(td, content) {
  const text = content instanceof Node ? content.textContent : String(content);
  if (td.textContent !== text) td.replaceChildren(content);
}

// fill makes the rows of a table: columns are [title, what a row shows there].
function fill(id, columns, rows) {
  const [head, body] = [show(id).tHead, show(id).tBodies[0]];
  if (!head.rows.length) {
    const r = head.insertRow();
    for (const [title] of columns) {
      const th = cell("th", title);
      th.scope = "col";
      r.append(th);
    }
  }
  const focused = document.activeElement?.dataset?.channel;
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    const r = body.rows[i] ?? body.insertRow();
    columns.forEach(([, of], j) => put(r.cells[j] ?? r.insertCell(), of(row)));
  });
  if (focused !== undefined && document.activeElement?.dataset?.channel !== focused) [...body.querySelectorAll("button")].find(b => b.dataset.channel === focused)?.focus();
}

function define(pairs) {
  show("site").replaceChildren(...pairs.map(([name, value]) => {
    const d = document.createElement("div");
    d.append(cell("dt", name), cell("dd", value));
    return d;
  }));
}

// rate is how much a count grew in a second since the answer before.
function rate(now, before, count) {
  const seconds = last ? (now.at - last.at) / 1000 : 0;
  return seconds > 0 && before ? number(Math.round((count(now) - count(before)) / seconds)) : "";
}

const counts = ["arrived", "replayed", "delivered", "coalesced", "missed", "unsent", "waiting"];
const counted = f => counts.map(c => [c, r => number(f(r)[c])]);

function choose(name) {
  const b = cell("button", name);
  b.type = "button";
  b.dataset.channel = name;
  b.addEventListener("click", () => {
    open = name;
    location.hash = encodeURIComponent(name);
    look();
  });
  return b;
}

function render(a) {
  define([
    ["event streams", number(a.streams)], ["opened", number(a.opened)], ["sessions", number(a.sessions)],
    ["client processes", number(a.processes)], ["attached", number(a.attached)], ["waiting for the engine", number(a.publishing)],
    ...Object.entries(a.full).filter(([, n]) => n).map(([reason, n]) => ["full: " + reason, number(n)]),
    ...Object.entries(a.ended).filter(([, n]) => n).map(([cause, n]) => ["ended: " + cause, number(n)]),
  ]);
  const kind = (answer, name) => answer?.kinds.find(k => k.kind === name);
  fill("kinds", [
    ["kind", k => k.kind], ["channels", k => number(k.channels)], ["readers", k => number(k.readers)], ...counted(k => k),
    ["delivered a second", k => rate({ at: a.at, ...k }, kind(last, k.kind), f => f.delivered)],
  ], a.kinds);
  fill("channels", [
    ["channel", c => choose(c.name)], ["kind", c => c.kind], ["readers", c => number(c.readers)], ...counted(c => c),
    ["furthest behind", c => number(c.most)], ["kept", c => number(c.kept)], ["bytes kept", c => number(c.bytes)], ["position", c => c.tail],
  ], a.channels);
  show("more").hidden = !a.more;
  show("more").textContent = number(a.more) + " more are not shown: look for a name.";
  show("one").hidden = open === "";
  show("name").textContent = open;
  fill("readers", [
    ["position", r => r.at], ["values behind", r => number(r.waiting)], ["user", r => r.user], ["address", r => r.address],
  ], a.readers);
  show("state").textContent = "As of " + new Date(a.at).toLocaleTimeString("en-GB") + ".";
  last = a;
}

let asking = false;
async function look() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const response = await fetch(address({ figures: 1, find: show("find").value, channel: open }), { cache: "no-store" });
    if (!response.ok) throw new Error("it was answered " + response.status);
    render(await response.json());
  } catch (e) {
    show("state").textContent = "Not to be had: " + e.message + ". Asking again.";
  }
  asking = false;
}

show("close").addEventListener("click", () => {
  open = location.hash = "";
  look();
});
show("find").addEventListener("input", look);
document.addEventListener("visibilitychange", look);
setInterval(look, every);
look();
