/** Server-sent events, with reconnection: of the event feed, and of logs that are followed. */

import { Unavailable } from "./errors.js";
import { Answer, NoAnswer, isTransientStatus, pauseAfter, sleep } from "./transport.js";

/** @typedef {import("./api.js").Api} Api */

/** Seconds without data after which a connection is considered dead; the server sends a keep-alive every 15. */
const IDLE_TIMEOUT = 45;
/** Seconds to wait before reconnecting after a response has ended. */
const RECONNECT_AFTER = 1;

/**
 * Iterate over the data of events, until one of type `end`.
 *
 * @param {Api} api
 * @param {string} url
 * @param {string | undefined} lastId Events after this one.
 * @param {AbortSignal | undefined} signal
 * @returns {AsyncGenerator<any, void, undefined>}
 */
export async function* followed(api, url, lastId, signal) {
  let lastData = performance.now();
  for (let tries = 1; ; tries += 1) {
    /** @type {Answer | NoAnswer | undefined} */
    let failure;
    const connection = new Connection(url, api.authorization, lastId, signal);
    try {
      for await (const { id, event, data } of connection.blocks()) {
        [tries, lastData, lastId] = [0, performance.now(), id ?? lastId];
        if (event === "end") return;
        if (data !== "") yield api.parse(data);
      }
      failure = connection.refusal;
    } catch (error) {
      signal?.throwIfAborted();
      failure = new NoAnswer(error);
    } finally {
      connection.close();
    }
    if (failure instanceof Answer && !isTransientStatus(failure)) throw failure.error;
    const left = api.retryFor - (performance.now() - lastData) / 1000;
    if (failure && left <= 0) throw new Unavailable(failure.message, { cause: failure });
    const asked = failure instanceof Answer ? failure.retryAfter : RECONNECT_AFTER;
    await sleep(pauseAfter(Math.max(tries, 1), asked, Math.random()), signal);
  }
}

/** One response. */
class Connection {
  /** The error response, if the server sent no events. @type {Answer | undefined} */
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
   * @param {string | undefined} lastId
   * @param {AbortSignal | undefined} signal
   */
  constructor(url, authorization, lastId, signal) {
    this.#url = url;
    this.#headers = new Headers({ Authorization: authorization, Accept: "text/event-stream" });
    if (lastId !== undefined) this.#headers.set("Last-Event-ID", lastId);
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
  }

  /** @returns {AsyncGenerator<{id: string | undefined, event: string | undefined, data: string}, void, undefined>} */
  async *blocks() {
    this.#signal?.throwIfAborted();
    this.#restartTimer();
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
      this.#restartTimer();
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      // The last block is incomplete.
      text = blocks.pop() ?? "";
      yield* blocks.map(read);
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#control.abort();
  }

  #restartTimer() {
    clearTimeout(this.#timer);
    const slow = () => this.#control.abort(new Error(`nothing was heard for ${IDLE_TIMEOUT} seconds`));
    this.#timer = setTimeout(slow, IDLE_TIMEOUT * 1000);
  }
}

/**
 * Parse a block of server-sent events.
 *
 * @param {string} block
 */
function read(block) {
  /** @type {string | undefined} */
  let id;
  /** @type {string | undefined} */
  let event;
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    if (line.startsWith("event: ")) event = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  return { id, event, data };
}
