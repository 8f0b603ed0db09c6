/** Documents on their way to Headwater: a buffer that fills, uploads in their order, and what ends it all. */

import { TaskGone } from "./errors.js";
import { lineOf } from "./json.js";
import { Parcel } from "./parcel.js";

/** @typedef {import("./task_calls.js").TaskCalls} TaskCalls */

export class Outbox {
  #calls;
  #maxBytes;
  #maxSeconds;
  #patience;
  #compress;
  #control = new AbortController();
  /** What fills. @type {Parcel | undefined} */
  #parcel;
  /** Runs while there is something in it. @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Whether its lines are old, and go as soon as the upload before them is through. */
  #due = false;
  /** The last upload, which waits for those before it. Never rejects. @type {Promise<void>} */
  #uploads = Promise.resolve();
  /** Uploads that are not through: one is under way, the others wait. */
  #open = 0;
  /** Settles when the last of those that wait gets its turn. @type {Promise<void>} */
  #turn = Promise.resolve();
  /** What ended it, in an object, since the reason of a signal may be anything. @type {{error: unknown} | undefined} */
  #ended;

  /** Documents that were taken. */
  written = 0;
  /** Documents that Headwater has acknowledged. */
  taken = 0;

  /**
   * @param {TaskCalls} calls
   * @param {{maxBytes: number, maxSeconds: number, patience: number, compress: boolean}} how
   */
  constructor(calls, { maxBytes, maxSeconds, patience, compress }) {
    this.#calls = calls;
    this.#maxBytes = maxBytes;
    this.#maxSeconds = maxSeconds;
    this.#patience = patience;
    this.#compress = compress;
  }

  /** Fires when it ends, with the error. */
  get signal() {
    return this.#control.signal;
  }

  get isEnded() {
    return this.#ended !== undefined;
  }

  get isGone() {
    return this.#ended?.error instanceof TaskGone;
  }

  /** Raise what ended it, if anything did. */
  check() {
    if (this.#ended) throw this.#ended.error;
  }

  /** Take nothing more, break off what is under way, and raise the error from now on. @param {unknown} error */
  end(error) {
    if (this.#ended) return;
    this.#ended = { error };
    this.drop();
    this.#control.abort(error);
  }

  /**
   * Put a document into the buffer.
   *
   * @param {object} document
   * @returns {Promise<void> | undefined} What to wait for before the next one, if anything.
   */
  put(document) {
    const line = lineOf(document);
    this.#parcel ??= new Parcel({ compress: this.#compress });
    const isWork = this.#parcel.add(line);
    this.written += 1;
    if (this.#parcel.length >= this.#maxBytes) this.#send();
    // The timer keeps a Node process alive, for so many seconds and only while there is something in the buffer: a
    // script that forgot to close its writer shall not lose what it wrote.
    else this.#timer ??= setTimeout(() => this.#age(), this.#maxSeconds * 1000);
    if (this.#open > 1) return this.#turn.then(() => this.check());
    // Else all that is under way would stand still while a crawler computes, since awaiting what is ready gives it no
    // turn.
    return isWork ? breath() : undefined;
  }

  /** Upload what is in the buffer; resolves when that is acknowledged, or an error has ended the outbox. */
  flush() {
    this.#send();
    return this.#uploads;
  }

  /** Forget what is in the buffer. */
  drop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = false;
    this.#parcel = undefined;
  }

  #age() {
    this.#timer = undefined;
    // Behind an upload that takes long they would not leave sooner, but in smaller parts.
    if (this.#open > 0) this.#due = true;
    else this.#send();
  }

  /** Let the buffer be uploaded after those before it, and begin another one. */
  #send() {
    const parcel = this.#parcel;
    if (parcel === undefined) return;
    this.drop();
    parcel.body(); // the end of it is compressed now, while the upload before is under way
    this.#open += 1;
    this.#turn = this.#uploads;
    this.#uploads = this.#turn.then(async () => {
      if (!this.#ended) await this.#upload(parcel);
      this.#open -= 1;
      if (this.#due && this.#open === 0) this.#send();
    });
  }

  /** @param {Parcel} parcel */
  async #upload(parcel) {
    try {
      const limits = { patience: this.#patience, signal: this.signal };
      this.taken += (await this.#calls.upload(parcel, limits)).count;
    } catch (error) {
      this.end(error);
    }
  }
}

/** Let whatever else is ready have its turn. A timer would do, but browsers make each one wait for milliseconds. */
function breath() {
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
