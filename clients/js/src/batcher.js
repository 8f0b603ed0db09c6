/** Collects documents into batches and uploads them in order, in the background. */

import { TaskGone } from "./errors.js";
import { lineOf } from "./json.js";
import { Batch } from "./batch.js";

/** @typedef {import("./task_calls.js").TaskCalls} TaskCalls */

export class Batcher {
  #calls;
  #maxBytes;
  #maxSeconds;
  #retryFor;
  #compress;
  #control = new AbortController();
  /** The batch that is being filled. @type {Batch | undefined} */
  #batch;
  /** Runs while the batch is not empty. @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Whether `maxSeconds` have passed, so that the batch is uploaded as soon as the previous upload is done. */
  #due = false;
  /** The last upload, chained to those before it. Never rejects. @type {Promise<void>} */
  #uploads = Promise.resolve();
  /** Unfinished uploads: one in progress, the others waiting. */
  #open = 0;
  /** Resolves when the last waiting upload starts. @type {Promise<void>} */
  #turn = Promise.resolve();
  /** The error that ended it, wrapped, since an abort reason may be undefined. @type {{error: unknown} | undefined} */
  #ended;

  /** Documents accepted by `put`. */
  written = 0;
  /** Documents that Headwater has acknowledged. */
  taken = 0;

  /**
   * @param {TaskCalls} calls
   * @param {{maxBytes: number, maxSeconds: number, retryFor: number, compress: boolean}} how
   */
  constructor(calls, { maxBytes, maxSeconds, retryFor, compress }) {
    this.#calls = calls;
    this.#maxBytes = maxBytes;
    this.#maxSeconds = maxSeconds;
    this.#retryFor = retryFor;
    this.#compress = compress;
  }

  /** Aborts with the error that ends it. */
  get signal() {
    return this.#control.signal;
  }

  get isEnded() {
    return this.#ended !== undefined;
  }

  get isGone() {
    return this.#ended?.error instanceof TaskGone;
  }

  /** Throw the error that ended it, if any. */
  check() {
    if (this.#ended) throw this.#ended.error;
  }

  /** Stop: discard the batch, abort the upload in progress, and throw the error from now on. @param {unknown} error */
  end(error) {
    if (this.#ended) return;
    this.#ended = { error };
    this.drop();
    this.#control.abort(error);
  }

  /**
   * Add a document to the batch.
   *
   * @param {object} document
   * @returns {Promise<void> | undefined} Backpressure: await it before the next document.
   */
  put(document) {
    const line = lineOf(document);
    this.#batch ??= new Batch({ compress: this.#compress });
    const isWork = this.#batch.add(line);
    this.written += 1;
    if (this.#batch.length >= this.#maxBytes) this.#send();
    // The timer is not unref'ed: it keeps a Node process alive until the batch is sent, so that a script that forgets
    // to close its writer loses nothing.
    else this.#timer ??= setTimeout(() => this.#expire(), this.#maxSeconds * 1000);
    if (this.#open > 1) return this.#turn.then(() => this.check());
    // Yield to the event loop: awaiting a resolved promise does not, so a busy crawler would stall the uploads.
    return isWork ? yieldToEventLoop() : undefined;
  }

  /** Upload the batch; resolves when it is acknowledged or an error has ended the batcher. */
  flush() {
    this.#send();
    return this.#uploads;
  }

  /** Discard the batch. */
  drop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = false;
    this.#batch = undefined;
  }

  #expire() {
    this.#timer = undefined;
    // While an upload is in progress, sending now would be no faster, and make smaller batches.
    if (this.#open > 0) this.#due = true;
    else this.#send();
  }

  /** Queue the batch for upload, and start a new one. */
  #send() {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.drop();
    batch.body(); // finish compressing now, while the previous upload is in progress
    this.#open += 1;
    this.#turn = this.#uploads;
    this.#uploads = this.#turn.then(async () => {
      if (!this.#ended) await this.#upload(batch);
      this.#open -= 1;
      if (this.#due && this.#open === 0) this.#send();
    });
  }

  /** @param {Batch} batch */
  async #upload(batch) {
    try {
      const limits = { retryFor: this.#retryFor, signal: this.signal };
      this.taken += (await this.#calls.upload(batch, limits)).count;
    } catch (error) {
      this.end(error);
    }
  }
}

/** Run a macrotask. Not setTimeout, which browsers clamp to milliseconds. */
function yieldToEventLoop() {
  /** @type {Promise<void>} */
  const turn = new Promise((resolve) => {
    if ("setImmediate" in globalThis) return void setImmediate(resolve);
    const { port1, port2 } = new MessageChannel();
    port2.onmessage = () => {
      port2.close();
      resolve();
    };
    return port1.postMessage(null);
  });
  return turn;
}
