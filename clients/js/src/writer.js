/** What writes a task's documents: in batches, tried again, each once. */

/// <reference lib="esnext.disposable" preserve="true" />

import { TaskGone, WriterClosed } from "./errors.js";
import { textOf } from "./json.js";
import { Outbox } from "./outbox.js";
import { TaskCalls } from "./task_calls.js";

/** @typedef {import("./types.js").Task} Task */

/**
 * @typedef {object} WriterOptions
 * @property {number} [maxBytes] Documents are uploaded when their lines come to so many bytes (4 MiB).
 * @property {number} [maxSeconds] They are uploaded, too, when the first of them has waited for so many seconds (5).
 * @property {number} [patience] Seconds for which a call is tried again (600).
 * @property {number} [timeout] Seconds that one try may take (120).
 * @property {boolean} [compress] Whether uploads are compressed (true); on a network that is faster than a core, they
 *   need not be.
 * @property {AbortSignal | undefined} [signal] Ends the writer: uploads are broken off, and each call but `fail` raises
 *   its reason. If that is a `TaskGone`, `fail` says nothing either.
 */

/** Seconds for which the failure of a writer that has an error already is told: the one before took its time. */
const LAST_WORDS = 10;

/** Some errors hold the whole page that made them. */
const LONGEST_MESSAGE = 1000;

/** @type {typeof Symbol.asyncDispose} */
const asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

/**
 * Writes the documents of one task.
 *
 * Await each call: `write` waits when documents come faster than they can be uploaded. An error of an upload is raised
 * by the next call, and by each one after it.
 */
export class TaskWriter {
  #calls;
  #outbox;
  #patience;
  /** Reports go out in the order of their calls. @type {Promise<unknown>} */
  #reports = Promise.resolve();
  /** Lets go of the signal that it was given, which may live much longer. @type {() => void} */
  #release = () => {};
  /** @type {Promise<Task> | undefined} */
  #closing;
  #closed = false;

  /**
   * @overload
   * @param {string | URL} endpoint The task's, with the token in it.
   * @param {WriterOptions} [options]
   */
  /**
   * @overload
   * @param {string | URL} endpoint The task's, with the token in it or without.
   * @param {string | null | undefined} token Or a key with the scope `write`.
   * @param {WriterOptions} [options]
   */
  /**
   * @param {string | URL} endpoint
   * @param {string | null | WriterOptions} [token]
   * @param {WriterOptions} [options]
   */
  constructor(endpoint, token, options) {
    const given = typeof token === "object" && token !== null ? token : options;
    const { maxBytes = 4 << 20, maxSeconds = 5, patience = 600, timeout = 120, compress = true, signal } = given ?? {};
    this.#calls = new TaskCalls(endpoint, typeof token === "string" ? token : undefined, timeout);
    this.#outbox = new Outbox(this.#calls, { maxBytes, maxSeconds, patience, compress });
    this.#patience = patience;
    if (!signal) return;
    const end = () => this.#outbox.end(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    this.#release = () => signal.removeEventListener("abort", end);
    if (signal.aborted) end();
  }

  /** The task's. */
  get fid() {
    return this.#calls.fid;
  }

  /** Documents that were taken by `write`. */
  get written() {
    return this.#outbox.written;
  }

  /** Documents that Headwater has acknowledged: they are on its disk. */
  get taken() {
    return this.#outbox.taken;
  }

  /** Whether the task's end was reported. */
  get closed() {
    return this.#closed;
  }

  /**
   * Fires when the task is gone, or something else ended the writer; its reason is what the next call raises. Hand it
   * to what the crawler waits for.
   */
  get signal() {
    return this.#outbox.signal;
  }

  /**
   * Take a document. It is turned into JSON before this returns, and may be changed afterwards.
   *
   * @param {object} document
   * @returns {Promise<void>} Resolves when there is room for more.
   * @throws {NotJson} It cannot be JSON. The writer goes on.
   */
  async write(document) {
    this.#check();
    await this.#outbox.put(document);
  }

  /**
   * Take documents, one after another.
   *
   * @param {Iterable<object> | AsyncIterable<object>} documents
   * @returns {Promise<void>}
   */
  async writeAll(documents) {
    if (!(Symbol.iterator in documents)) {
      for await (const document of documents) await this.write(document);
      return;
    }
    for (const document of documents) {
      this.#check();
      const room = this.#outbox.put(document);
      // To await each document would take as long as the document itself.
      if (room) await room;
    }
  }

  /**
   * Upload what is in the buffer.
   *
   * @returns {Promise<void>} Resolves when all documents are on Headwater's disk.
   */
  async flush() {
    this.#check();
    await this.#outbox.flush();
    this.#outbox.check();
  }

  /**
   * Report how the task goes: 102, at once, while it goes on; 2xx, or 4xx and 5xx, to end it as done or as failed. An
   * end first uploads what is in the buffer, and closes the writer.
   *
   * @param {number} code
   * @param {string | null} [message] For people.
   * @param {unknown} [detail] Any JSON.
   * @returns {Promise<Task>} The task as it stands then.
   */
  async status(code, message, detail) {
    this.#check();
    const report = reportOf(code, message, detail);
    if (code === 102) return this.#report(report, { patience: this.#patience, signal: this.signal });
    this.#closing = this.#close(report);
    return this.#closing;
  }

  /**
   * Upload what is in the buffer and report 200, unless the writer is closed already.
   *
   * @returns {Promise<void>}
   */
  async close() {
    if (this.#closing) await this.#closing;
    else if (!this.#closed) await this.status(200);
  }

  /**
   * Report that the crawler failed: what is in the buffer is uploaded, then 500. Says nothing if the writer is closed
   * or the task is gone.
   *
   * @param {unknown} error
   * @returns {Promise<void>} Never rejects: a task whose end cannot be told is timed out by its silence.
   */
  async fail(error) {
    // Whoever is about to close comes first; if that succeeds, there is nothing left to say.
    await this.#closing?.catch(() => {});
    if (!this.#closed && !this.#outbox.isEnded) await this.#outbox.flush();
    if (this.#closed || this.#outbox.isGone) return;
    this.#closed = true;
    this.#release();
    this.#outbox.drop();
    const limits = this.#outbox.isEnded ? { patience: LAST_WORDS, timeout: LAST_WORDS } : { patience: this.#patience };
    const detail = error instanceof Error ? { traceback: error.stack } : undefined;
    // Not under the writer's signal, which has fired if there was an error before.
    await this.#report(reportOf(500, saidBy(error), detail), limits).catch(() => {});
  }

  /**
   * What `await using` does at the end of the block. It is not told whether the block was left by an error, so that it
   * never reports 200: a run that was not closed has failed.
   */
  async [asyncDispose]() {
    const ended = this.signal.aborted ? this.signal.reason : undefined;
    await this.fail(ended ?? new Error("the crawler ended without a word: its writer was not closed"));
  }

  /**
   * Run a crawler with a writer: 200 when it returns; when it raises, what is in the buffer is uploaded, 500 is
   * reported, and the error is raised again.
   *
   * @template Result
   * @overload
   * @param {string | URL} endpoint
   * @param {(writer: TaskWriter) => Promise<Result> | Result} crawl
   * @param {WriterOptions} [options]
   * @returns {Promise<Result>}
   */
  /**
   * @template Result
   * @overload
   * @param {string | URL} endpoint
   * @param {string | null | undefined} token
   * @param {(writer: TaskWriter) => Promise<Result> | Result} crawl
   * @param {WriterOptions} [options]
   * @returns {Promise<Result>}
   */
  /**
   * @param {string | URL} endpoint
   * @param {...any} rest
   * @returns {Promise<any>}
   */
  static async run(endpoint, ...rest) {
    const [token, crawl, options] = typeof rest[0] === "function" ? [undefined, ...rest] : rest;
    return new TaskWriter(endpoint, token, options).run(crawl);
  }

  /**
   * Run a crawler with this writer: `TaskWriter.run` for a writer that is there already.
   *
   * @template Result
   * @param {(writer: TaskWriter) => Promise<Result> | Result} crawl
   * @returns {Promise<Result>}
   */
  async run(crawl) {
    try {
      const result = await crawl(this);
      await this.close();
      return result;
    } catch (error) {
      await this.fail(error);
      throw error;
    }
  }

  #check() {
    this.#outbox.check();
    if (this.#closed || this.#closing) throw new WriterClosed("the writer is closed: the task's end was reported");
  }

  /** @param {string} report */
  async #close(report) {
    try {
      await this.#outbox.flush();
      this.#outbox.check();
      const task = await this.#report(report, { patience: this.#patience, signal: this.signal });
      this.#closed = true;
      this.#release();
      return task;
    } finally {
      this.#closing = undefined;
    }
  }

  /**
   * @param {string} report
   * @param {import("./task_calls.js").Limits} limits
   */
  async #report(report, limits) {
    const sent = this.#reports.then(() => this.#calls.report(report, limits));
    this.#reports = sent.catch(() => {});
    try {
      return await sent;
    } catch (error) {
      if (error instanceof TaskGone) this.#outbox.end(error);
      throw error;
    }
  }
}

/**
 * Return an error as one line for people, without the word "Error" that says nothing.
 *
 * @param {unknown} error
 */
function saidBy(error) {
  const isPlain = error instanceof Error && error.name === "Error" && error.message !== "";
  return (isPlain ? error.message : String(error)).slice(0, LONGEST_MESSAGE);
}

/**
 * @param {number} code
 * @param {string | null | undefined} message
 * @param {unknown} detail
 */
function reportOf(code, message, detail) {
  return /** @type {string} */ (textOf({ code, message: message ?? undefined, detail }));
}
