import type { Comet } from "./comet.js";

/**
 * Gives the function that sends for a Comet. Inboxes is the page's table of what each inbox and duplex channel takes:
 *
 *     const send = sending<{ chat: Draft }>(comet);
 *     await send("chat", { text: "hello" });
 *
 * Sends to one inbox are taken one after the other, in the order of the calls, each once: what was not answered is sent again
 * under its number. Several values are one command. It resolves when all of them were taken, and waits for as long as nobody
 * answers: after the server's Retry-After, or the Comet's pauses (retry), and no longer than until the event stream is back. It
 * rejects with SendRefused where repeating would not help; those that were sent after it go on. The count is the Comet's, so
 * that it may be called any number of times for one.
 */
export function sending<Inboxes extends object = Record<string, any>>(
  comet: Comet<any>,
): <K extends keyof Inboxes & string>(inbox: K, ...values: [Inboxes[K], ...Inboxes[K][]]) => Promise<void>;

/** What was sent is refused. Its message is the server's. */
export class SendRefused extends Error {
  readonly inbox: string;
  /** HTTP's, as docs/sending.md has them; 0 where the page itself refused: close() was called, or Options.queue sends wait. */
  readonly status: number;
  /** Which of the values it is about, from 1; 0 if about none. */
  readonly value: number;
  /** How many of the values were taken before. */
  readonly taken: number;
}
