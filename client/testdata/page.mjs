// A page without a browser: its document, and the event streams that comet.js opens in it. A test says what happens to them.

export const page = new EventTarget();
page.hidden = false;
globalThis.document = page;
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail }) {
    super(type);
    this.detail = detail;
  }
};

export function hide(hidden) {
  page.hidden = hidden;
  page.dispatchEvent(new Event("visibilitychange"));
}

export class Source extends EventTarget {
  static all = [];
  readyState = 0;
  constructor(url) {
    super();
    this.url = url;
    Source.all.push(this);
  }
  close() {
    this.readyState = 2;
  }
  hello(said = {}) {
    this.readyState = 1;
    this.onopen?.();
    this.event("comet:hello", { version: 1, heartbeat: 15000, channels: [{ channel: "chat", position: "e.0" }], ...said });
  }
  event(type, data, lastEventId = "") {
    if (this.readyState < 2) this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId }));
  }
  fail(readyState) {
    this.readyState = readyState;
    this.onerror();
  }
}

export const last = () => Source.all.at(-1);
