/** What happens in Headwater, followed from event to event over whatever breaks in between. */

import { Unavailable } from "./errors.js";
import { Answer, NoAnswer, mayPass, pauseAfter, rest } from "./transport.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").HeadwaterEvent} HeadwaterEvent */

/** Seconds of silence after which a connection is taken for dead; the server breaks it every 15. */
const SILENCE = 45;
/** Seconds after which what has ended is asked for anew. */
const AGAIN = 1;

/**
 * @typedef {object} EventOptions
 * @property {string | {fid: string}} [stream] Only events about it.
 * @property {string | {fid: string}} [crawler] Likewise.
 * @property {string | {fid: string}} [task] Likewise.
 * @property {string | string[]} [type] Only events of these types: `task.done`, or `task` for all that begin so.
 * @property {string | Date} [since] Only events of that moment or later, with those that are kept.
 * @property {number} [lastEventId] Begin behind that event; 0 is before all that are kept.
 * @property {boolean} [follow] False: tell those that there are, from the oldest on, and end.
 * @property {AbortSignal} [signal] Ends it, with its reason as the error.
 */

/**
 * @param {Api} api
 * @param {EventOptions} options
 * @returns {AsyncGenerator<HeadwaterEvent, void, undefined>}
 */
export function events(api, { stream, crawler, task, type, since, lastEventId, follow = true, signal } = {}) {
  const query = {
    stream: fidOf(stream),
    crawler: fidOf(crawler),
    task: fidOf(task),
    type,
    since: since instanceof Date ? since.toISOString() : since,
  };
  if (!follow) return api.pages(["events"], { ...query, feed: "normal", last_event_id: lastEventId });
  return followed(api, api.address(["events"], query), lastEventId?.toString(), signal);
}

/**
 * @param {Api} api
 * @param {string} url
 * @param {string | undefined} place Behind which they go on.
 * @param {AbortSignal | undefined} signal
 * @returns {AsyncGenerator<HeadwaterEvent, void, undefined>}
 */
async function* followed(api, url, place, signal) {
  let heard = performance.now();
  for (let tries = 1; ; tries += 1) {
    /** @type {Answer | NoAnswer | undefined} */
    let failure;
    const listening = new Listening(url, api.authorization, place, signal);
    try {
      for await (const { id, data } of listening.blocks()) {
        [tries, heard, place] = [0, performance.now(), id ?? place];
        if (data !== "") yield JSON.parse(data);
      }
      failure = listening.refusal;
    } catch (error) {
      signal?.throwIfAborted();
      failure = new NoAnswer(error);
    } finally {
      listening.close();
    }
    if (failure instanceof Answer && !mayPass(failure)) throw failure.error;
    const left = api.patience - (performance.now() - heard) / 1000;
    if (failure && left <= 0) throw new Unavailable(failure.message, { cause: failure });
    const asked = failure instanceof Answer ? failure.retryAfter : AGAIN;
    await rest(pauseAfter(Math.max(tries, 1), asked, Math.random()), signal);
  }
}

/** One answer of events, as long as it lasts. */
class Listening {
  /** What came instead of events. @type {Answer | undefined} */
  refusal;
  #url;
  #headers;
  #signal;
  #control = new AbortController();
  #abort = () => this.#control.abort(this.#signal?.reason);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} url
   * @param {string} authorization
   * @param {string | undefined} place
   * @param {AbortSignal | undefined} signal
   */
  constructor(url, authorization, place, signal) {
    this.#url = url;
    this.#headers = new Headers({ Authorization: authorization, Accept: "text/event-stream" });
    if (place !== undefined) this.#headers.set("Last-Event-ID", place);
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
  }

  /** @returns {AsyncGenerator<{id: string | undefined, data: string}, void, undefined>} */
  async *blocks() {
    this.#signal?.throwIfAborted();
    this.#wait();
    const response = await fetch(this.#url, {
      headers: this.#headers,
      signal: this.#control.signal,
      redirect: "manual",
    });
    if (!response.ok || response.body === null) {
      this.refusal = new Answer(response, await response.text());
      return;
    }
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#wait();
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      // The last one is not whole yet.
      text = blocks.pop() ?? "";
      yield* blocks.map(read);
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#control.abort();
  }

  #wait() {
    clearTimeout(this.#timer);
    const slow = () => this.#control.abort(new Error(`nothing was heard for ${SILENCE} seconds`));
    this.#timer = setTimeout(slow, SILENCE * 1000);
  }
}

/**
 * Return what a block of server-sent events holds.
 *
 * @param {string} block
 */
function read(block) {
  /** @type {string | undefined} */
  let id;
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  return { id, data };
}

/** @param {string | {fid: string} | undefined} ref */
function fidOf(ref) {
  return typeof ref === "object" ? ref.fid : ref;
}
