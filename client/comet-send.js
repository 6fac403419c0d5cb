// comet-send.js sends values to inboxes and duplex channels: in their order, and once, however often a request has to be
// repeated. What it goes by is in the repository's docs/sending.md.

/** What was sent is refused, and not sent again: status and the server's message say why, value and taken how far it came. */
export class SendRefused extends Error {
  name = "SendRefused";
  constructor(inbox, message, about) {
    super(message);
    Object.assign(this, { inbox, status: 0, value: 0, taken: 0 }, about);
  }
}

// The inboxes of each Comet by name: the numbers are its process's, and whoever sends for it counts on.
const all = new WeakMap();

/** sending gives the function that sends for a Comet. */
export function sending(comet) {
  if (!all.has(comet)) all.set(comet, new Map());
  const inboxes = all.get(comet);
  return async (name, ...values) => {
    if (!inboxes.has(name)) inboxes.set(name, new Inbox(comet, name));
    return inboxes.get(name).send(values.map(value => JSON.stringify(value)));
  };
}

class Inbox {
  #comet;
  #name;
  #n = 1; // of the next command
  #begun = 0; // so many values of that number were taken before it was refused: they are passed over
  #waiting = 0;
  #turn = Promise.resolve(); // when all before are done

  constructor(comet, name) {
    this.#comet = comet;
    this.#name = name;
  }

  async send(texts) {
    const { queue } = this.#comet.options, before = this.#turn;
    if (this.#waiting >= queue) throw this.#refused(`${queue} sends wait already`);
    this.#waiting++;
    const done = before.then(() => this.#deliver(texts)).finally(() => this.#waiting--);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #deliver(texts) {
    let begun = this.#begun;
    let unsure = false; // a try may have been carried out whose answer was lost
    for (let failures = 0; ; ) {
      if (this.#comet.why === "closed") throw this.#refused("the Comet was closed");
      const { status, state, n, error, expected, retry, value = 0, taken } = await this.#post([...Array(begun).fill(""), ...texts]);
      // Browsers repeat a request by themselves where a kept connection breaks: what was seen may be this, unsure or not.
      if (state === "taken" || (state === "seen" && (unsure || n === this.#n))) {
        this.#n++;
        this.#begun = 0;
        return;
      }
      const next = state === "seen" ? n + 1 : expected;
      if (next && next !== this.#n) { // another page of this process has sent, or the inbox is a new one
        this.#n = next;
        this.#begun = begun = 0;
      } else if ([0, 429, 502, 503, 504].includes(status)) {
        unsure ||= status !== 429;
        await this.#pause(failures++, retry);
      } else {
        this.#begun = taken ?? begun;
        throw this.#refused(error, { status, value: Math.max(value - begun, 0), taken: this.#begun - begun });
      }
    }
  }

  #refused(message, about) {
    return new SendRefused(this.#name, message, about);
  }

  // post gives the answer with its status; 0 for none.
  async #post(texts) {
    const body = new URLSearchParams({ send: this.#name, n: this.#n });
    for (const text of texts) body.append("value", text);
    const answer = await fetch(this.#comet.url, { method: "POST", body, credentials: "include" }).catch(() => null);
    if (!answer) return { status: 0 };
    const { status, ok, headers } = answer;
    const about = { status, retry: headers.get("Retry-After") * 1000, error: `answered ${status}` };
    return answer.json().then(said => ({ ...about, ...said }), () => (ok ? { status: 0 } : about)); // what is no JSON is not Comet's
  }

  // pause waits for as long as the server said, or else as the Comet does between its attempts, and no longer than until it is
  // connected again.
  #pause(failures, retry) {
    const comet = this.#comet, [first, most] = comet.options.retry;
    const ms = retry || Math.min(most, first * 2 ** (failures / 2)) * (0.75 + Math.random() / 2);
    return new Promise(done => {
      const over = () => {
        clearTimeout(timer);
        comet.removeEventListener("state", changed);
        done();
      };
      const changed = () => (comet.state === "closed" || (comet.state === "open" && !retry)) && over();
      const timer = setTimeout(over, ms);
      comet.addEventListener("state", changed);
    });
  }
}
