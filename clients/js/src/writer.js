/** Writer of a task's documents: uploads in batches, with retries, each document exactly once. */

/// <reference lib="esnext.disposable" preserve="true" />

import { cleanText, cleaned } from "./cleaning.js";
import { TaskGone, WriterClosed } from "./errors.js";
import { forget, remember, warnLeftOpen } from "./leftovers.js";
import { Batcher } from "./batcher.js";
import { TaskLog } from "./log.js";
import { TaskCalls } from "./task_calls.js";

/** @typedef {import("./types.js").Task} Task */

/**
 * @typedef {object} WriterOptions
 * @property {number} [maxBytes] A batch is uploaded when it reaches this size, in bytes (4 MiB).
 * @property {number} [maxSeconds] A batch is uploaded at the latest this many seconds after its first document (5).
 * @property {number} [retryFor] Seconds for which a failed call is retried (600).
 * @property {number} [timeout] Timeout of one attempt, in seconds (120).
 * @property {boolean} [compress] Whether uploads are compressed (true). Not worthwhile if the network is faster than
 *   a CPU core compresses.
 * @property {AbortSignal | undefined} [signal] Ends the writer: uploads are aborted, and every call except `fail`
 *   throws its reason. If that is a `TaskGone`, `fail` reports nothing.
 */

/** Seconds for which a failure is reported after an error has ended the writer: that error was already retried. */
const FAILURE_REPORT_TIMEOUT = 10;

/** Maximum length of a message: some errors contain a whole page. */
const MAX_MESSAGE_LENGTH = 1000;

/** Statuses with which the server rejects a report. */
const REPORT_REJECTED = new Set([400, 413, 422]);

/** @type {typeof Symbol.asyncDispose} */
const asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

/**
 * Writes the documents of one task.
 *
 * Await each call: `write` applies backpressure when documents come faster than they can be uploaded. An upload error
 * is thrown by the next call, and by every call after it.
 */
export class TaskWriter {
  #calls;
  #batcher;
  #log;
  #retryFor;
  /** Serializes reports. @type {Promise<unknown>} */
  #reports = Promise.resolve();
  /** Removes the listener from the given signal, which may live much longer. @type {() => void} */
  #release = () => {};
  /** @type {Promise<Task> | undefined} */
  #closing;
  #closed = false;

  /**
   * @overload
   * @param {string | URL} endpoint The task's endpoint, including the token.
   * @param {WriterOptions} [options]
   */
  /**
   * @overload
   * @param {string | URL} endpoint The task's endpoint, with or without the token.
   * @param {string | null | undefined} token The task's token, or an API key with the scope `write`.
   * @param {WriterOptions} [options]
   */
  /**
   * @param {string | URL} endpoint
   * @param {string | null | WriterOptions} [token]
   * @param {WriterOptions} [options]
   */
  constructor(endpoint, token, options) {
    const given = typeof token === "object" && token !== null ? token : options;
    const { maxBytes = 4 << 20, maxSeconds = 5, retryFor = 600, timeout = 120, compress = true, signal } = given ?? {};
    this.#calls = new TaskCalls(endpoint, typeof token === "string" ? token : undefined, timeout);
    this.#batcher = new Batcher(this.#calls, { maxBytes, maxSeconds, retryFor, compress });
    this.#log = new TaskLog(this.#calls);
    this.#retryFor = retryFor;
    if (!signal) return;
    const end = () => this.#batcher.end(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    this.#release = () => signal.removeEventListener("abort", end);
    if (signal.aborted) end();
  }

  /** The task's fid. */
  get fid() {
    return this.#calls.fid;
  }

  /** Documents accepted by `write`. */
  get written() {
    return this.#batcher.written;
  }

  /** Documents that Headwater has acknowledged and written to disk. */
  get taken() {
    return this.#batcher.taken;
  }

  /** Whether the end of the task was reported. */
  get closed() {
    return this.#closed;
  }

  /**
   * Aborted when the task is gone or an error has ended the writer; its reason is what the next call throws. Pass it to
   * the crawler's own requests.
   */
  get signal() {
    return this.#batcher.signal;
  }

  /**
   * Write a document. It is serialized before this returns, and may be changed afterwards.
   *
   * @param {object} document
   * @returns {Promise<void>} Resolves when there is room for more.
   * @throws {NotJson} It cannot be written as JSON. The writer stays usable.
   */
  async write(document) {
    this.#beforeWrite();
    await this.#batcher.put(document);
  }

  /**
   * Delete a document of the stream by its id, at this place in the order. It is undone with the task.
   *
   * @param {string | number} id
   * @returns {Promise<void>}
   */
  delete(id) {
    return this.write({ $delete: id });
  }

  /**
   * Write documents, one after another.
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
      this.#beforeWrite();
      const room = this.#batcher.put(document);
      // Awaiting every document would double the time it takes.
      if (room) await room;
    }
  }

  /**
   * Upload the buffered documents.
   *
   * @returns {Promise<void>} Resolves when all documents are on Headwater's disk.
   */
  async flush() {
    this.#check();
    await this.#batcher.flush();
    this.#batcher.check();
  }

  /**
   * Write a line to the task's log. It is sent in the background; this never throws, and is not awaited.
   *
   * @param {unknown} text An error is written with its stack.
   * @param {import("./log.js").LogLevel} [level]
   * @param {Record<string, unknown>} [fields] Further fields of the line, any JSON.
   */
  log(text, level = "info", fields = {}) {
    this.#log.add(text, level, fields);
  }

  /**
   * Report the task's status: 102 while it is running, sent at once; 2xx to end it as done, 4xx or 5xx as failed. A
   * final status first uploads the buffered documents, and closes the writer.
   *
   * @param {number} code
   * @param {string | null} [message] Human-readable.
   * @param {unknown} [detail] Any JSON.
   * @returns {Promise<Task>} The task's state after the report.
   */
  async status(code, message, detail) {
    this.#check();
    const report = reportOf(code, message, detail);
    if (code === 102) return this.#report(report, { retryFor: this.#retryFor, signal: this.signal });
    this.#closing = this.#close(report);
    return this.#closing;
  }

  /**
   * Upload the buffered documents and report 200, unless the writer is already closed.
   *
   * @returns {Promise<void>}
   */
  async close() {
    if (this.#closing) await this.#closing;
    else if (!this.#closed) await this.status(200);
  }

  /**
   * Report that the crawler failed: uploads the buffered documents, then reports 500. Does nothing if the writer is
   * closed or the task is gone.
   *
   * @param {unknown} error
   * @returns {Promise<void>} Never rejects: if the task cannot be closed, the console says how to close it.
   */
  async fail(error) {
    // Wait for a close in progress; if it succeeds, there is nothing to report.
    await this.#closing?.catch(() => {});
    if (!this.#closed && !this.#batcher.isEnded) await this.#batcher.flush();
    if (this.#closed) return;
    if (!this.#batcher.isGone) await this.#log.flush();
    this.#end();
    this.#batcher.drop();
    if (this.#batcher.isGone) return;
    const limits = this.#batcher.isEnded
      ? { retryFor: FAILURE_REPORT_TIMEOUT, timeout: FAILURE_REPORT_TIMEOUT }
      : { retryFor: this.#retryFor };
    // Without the writer's signal, which is already aborted if there was an error before.
    try {
      await this.#report(reportOf(500, messageOf(error), detailOf(error)), limits).catch((problem) => {
        if (!REPORT_REJECTED.has(problem?.status)) throw problem;
        // Retry with a minimal report: what matters is that the task is failed.
        return this.#report(reportOf(500, "the crawler failed", undefined), limits);
      });
    } catch (problem) {
      if (!(problem instanceof TaskGone)) warnLeftOpen(this.fid, problem);
    }
  }

  /**
   * Called at the end of an `await using` block. Since it cannot know whether the block threw, it never reports 200: a
   * task that was not closed has failed.
   */
  async [asyncDispose]() {
    const ended = this.signal.aborted ? this.signal.reason : undefined;
    await this.fail(ended ?? new Error("the crawler ended without a word: its writer was not closed"));
  }

  /**
   * Run a crawl function with a writer: reports 200 when it returns. When it throws, uploads the buffered documents,
   * reports 500, and rethrows the error.
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
   * Run a crawl function with this writer; see the static `TaskWriter.run`.
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

  #beforeWrite() {
    this.#check();
    if (this.written === 0) remember(this);
  }

  #end() {
    this.#closed = true;
    this.#log.end();
    this.#release();
    forget(this);
  }

  #check() {
    this.#batcher.check();
    if (this.#closed || this.#closing) throw new WriterClosed("the writer is closed: the task's end was reported");
  }

  /** @param {string} report */
  async #close(report) {
    try {
      await this.#batcher.flush();
      this.#batcher.check();
      await this.#log.flush();
      const task = await this.#report(report, { retryFor: this.#retryFor, signal: this.signal });
      this.#end();
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
      if (error instanceof TaskGone) this.#batcher.end(error);
      throw error;
    }
  }
}

/**
 * Return an error as a one-line message, without the uninformative prefix "Error".
 *
 * @param {unknown} error
 */
function messageOf(error) {
  try {
    const isPlain = error instanceof Error && error.name === "Error" && error.message !== "";
    return (isPlain ? cleanText(error.message) : cleanText(error)).slice(0, MAX_MESSAGE_LENGTH);
  } catch {
    return cleanText(error);
  }
}

/** @param {unknown} error */
function detailOf(error) {
  try {
    return error instanceof Error ? { traceback: error.stack } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Return a report as JSON, sanitized, so that it is not rejected for a character that cannot be stored.
 *
 * @param {number} code
 * @param {string | null | undefined} message
 * @param {unknown} detail
 */
function reportOf(code, message, detail) {
  return JSON.stringify(cleaned({ code, message: message ?? undefined, detail }));
}
