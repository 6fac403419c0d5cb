/**
 * Hears Comet's channels in a page, on one event stream.
 *
 * Channels is the page's table of what each channel carries:
 *
 *     interface Channels { chat: Message; unread: number }
 *     const comet = connect<Channels>(url);
 *     for await (const message of comet.channel("chat")) show(message);
 */
export type Values = object;

/** What the event stream does. */
export type State =
  /** it is being opened, or lost and opened anew; why is "lost", "refused" or "stalled" after a failure */
  | "connecting"
  /** it is there */
  | "open"
  /** the page was hidden for idleAfter: only a look from time to time (idlePoll); why is "hidden" */
  | "idle"
  /** nothing, until the page is wanted again; why is "hidden", "pagehide", "freeze" or, after retries, as for connecting */
  | "paused"
  /** for good; why is "closed" (close was called) or the reason of what was heard last, such as "gone" or "superseded" */
  | "closed";

export interface StateDetail {
  state: State;
  why: string;
  /** until the next attempt, in milliseconds; only after a failure */
  inMs?: number;
}

export interface Options {
  /** How long the page stays connected after it was hidden, in ms. Infinity: always. Default: 180,000, as Eliom's. */
  idleAfter?: number;
  /**
   * How often an idle page looks what there is, so that its client process lives: after T ms of idleness the next look is
   * min(a·T + b, c) ms away. null: never; the page is then paused. Default: [0.5, 60_000, 600_000], as Eliom's.
   */
  idlePoll?: [a: number, b: number, c: number] | null;
  /** The pause after the first failure in a row, and the longest one, in ms; each is jittered by a quarter. Default: [500, 30_000]. */
  retry?: [first: number, longest: number];
  /** How many failures in a row are followed by another attempt. Default: Infinity. */
  retries?: number;
  /** How many heartbeats of silence mean a dead connection. Default: 2. */
  stall?: number;
  /** How many values wait for a slow `for await` before they are dropped and it throws ChannelFull, reason "slow". Default: 1000. */
  queue?: number;
  /** Send cookies to another origin's event stream. Default: false. */
  withCredentials?: boolean;
  /** Reads a value from its text. Default: JSON.parse. */
  parse?: (text: string) => unknown;
  /** Opens event streams. Default: the browser's. */
  EventSource?: new (url: string, init: { withCredentials: boolean }) => EventSource;
}

export interface ChannelOptions<T> {
  /**
   * Where a site channel begins that the page's URL does not name: "-20" with its last 20 values, "newest" with the newest,
   * or after a position. Default: with what comes from now on.
   */
  from?: string;
  /** Reads a value from its text: String for the Text and HTML encodings. Default: the Comet's. */
  parse?: (text: string) => T;
}

interface ChannelEvents<T> {
  /** a value */
  message: MessageEvent<T>;
  /** ChannelFull, ChannelClosed or ProcessGone; or what parse threw */
  error: Event & { error: Error };
  /** the source said that it is done, or close was called */
  end: Event;
}

interface CometEvents {
  state: CustomEvent<StateDetail>;
  /** what concerns the page as a whole: ProcessGone; ChannelClosed with the reason "superseded", "version" or "address" */
  error: Event & { error: ChannelClosed };
}

type Listener<E, This> = ((this: This, event: E) => void) | { handleEvent(event: E): void };

/** An EventTarget whose events are known by name. */
interface Emitter<Events> extends Pick<EventTarget, "dispatchEvent"> {
  addEventListener<K extends keyof Events & string>(type: K, listener: Listener<Events[K], this> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof Events & string>(type: K, listener: Listener<Events[K], this> | null, options?: boolean | EventListenerOptions): void;
}

/**
 * One channel. Any number of `for await` loops and listeners hear it; what comes before the first of them is kept.
 *
 * A loop ends when the source does, and throws ChannelFull where values are missing, ChannelClosed and ProcessGone where the
 * channel ends otherwise. After the ChannelFull of a site channel another loop goes on where the first one ended.
 *
 * The last loop that is left by break, return or a throw of its own closes the channel, unless a listener for messages was
 * ever added. Each step of a loop over an unlimited channel has one value read, at that moment.
 */
export interface Channel<T> extends Emitter<ChannelEvents<T>>, AsyncIterable<T> {
  readonly name: string;
  /** Has an unlimited channel read one value. Those who ask while one is being read share it. Rejects as a loop throws. */
  pull(): Promise<T>;
  /** Stops hearing it. A private channel ends with its source. */
  close(): void;
}

export interface Comet<C extends Values = Record<string, any>> extends Emitter<CometEvents> {
  /** What connect was given, with the defaults. */
  readonly url: string;
  readonly options: Readonly<Required<Options>>;
  readonly state: State;
  readonly why: string;
  /** The channel of this name; the same one every time, until it has ended. What the event stream does not carry is registered. */
  channel<K extends keyof C & string>(name: K, options?: ChannelOptions<C[K]>): Channel<C[K]>;
  /** As if the page had just been looked at: connects at once, also from idle and paused. */
  activate(): void;
  /** Opens the event stream anew, at once, where it was. */
  restart(): void;
  /** Ends the event stream and every loop. The channels live on the server until the client process ends. */
  close(): void;
}

/** Hears what comet.Open's URL says. The URL is used as it is. */
export function connect<C extends Values = Record<string, any>>(url: string, options?: Options): Comet<C>;

declare class ChannelError extends Error {
  /** "" for what concerns the page as a whole */
  readonly channel: string;
  readonly reason: string;
}

/** Values are missing here: docs/events.md has the reasons, and "slow" is this page's own. */
export class ChannelFull extends ChannelError {
  /** The position after which a site channel goes on. */
  readonly resume?: string;
}

/** The channel was closed, failed, or is not to be had. */
export class ChannelClosed extends ChannelError {}

/** The page's client process is gone, and its private channels are. A new page has a new one. */
export class ProcessGone extends ChannelClosed {}

export {};
