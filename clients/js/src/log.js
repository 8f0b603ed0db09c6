/** Sends lines to the log of a task, in the background; a log never fails or delays the crawl. */

import { cleaned } from "./cleaning.js";
import { HeadwaterError, Unavailable } from "./errors.js";

/** @typedef {import("./task_calls.js").TaskCalls} TaskCalls */
/** @typedef {"debug" | "info" | "warning" | "error" | "critical"} LogLevel */

/** Characters of a request, and of lines that wait; over it, further lines are dropped and counted. */
const MAX_SIZE = 256 << 10;
const MAX_WAITING = 4 << 20;
/** Milliseconds for which a line waits. */
const MAX_WAIT = 2000;
/** Seconds for which a failed request is retried. */
const RETRY_FOR = 60;
/** Milliseconds for the last lines when the task is closed. */
const CLOSE_TIMEOUT = 5000;

export class TaskLog {
  #calls;
  /** @type {string[]} */
  #waiting = [];
  #size = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Promise<void> | undefined} */
  #sending;
  #end = new AbortController();

  /** @param {TaskCalls} calls */
  constructor(calls) {
    this.#calls = calls;
    /** Lines that were not sent. */
    this.dropped = 0;
  }

  /**
   * Send a line soon. Never throws.
   *
   * @param {unknown} text
   * @param {LogLevel} level
   * @param {Record<string, unknown>} fields
   */
  add(text, level, fields) {
    const line = lineOf(text, level, fields);
    if (this.#end.signal.aborted || this.#size + line.length > MAX_WAITING) {
      this.dropped += 1;
      return;
    }
    this.#waiting.push(line);
    this.#size += line.length;
    if (this.#size >= MAX_SIZE) void this.#send();
    else this.#timer ??= later(() => void this.#send(), MAX_WAIT);
  }

  /**
   * Wait until all lines are sent, for a few seconds at most.
   *
   * @returns {Promise<void>} Never rejects.
   */
  async flush() {
    if (!this.#sending && this.#waiting.length === 0) return;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_TIMEOUT)));
    await Promise.race([this.#send(), late]);
    clearTimeout(timer);
  }

  /** Send nothing more. */
  end() {
    clearTimeout(this.#timer);
    this.#end.abort();
  }

  /** Send until nothing waits; one request at a time, in order. */
  #send() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
    return this.#sending;
  }

  async #sendAll() {
    while (this.#waiting.length > 0 && !this.#end.signal.aborted) {
      const lines = [];
      let size = 0;
      for (const line of this.#waiting) {
        if (lines.length > 0 && size + line.length > MAX_SIZE) break;
        lines.push(line);
        size += line.length;
      }
      this.#waiting.splice(0, lines.length);
      this.#size -= size;
      try {
        await this.#calls.log(lines.join(""), { retryFor: RETRY_FOR, signal: this.#end.signal });
      } catch (error) {
        this.dropped += lines.length;
        // The task is gone, or the server knows no logs: nothing more is wanted.
        if (error instanceof HeadwaterError && !(error instanceof Unavailable)) this.end();
      }
    }
  }
}

/**
 * @param {unknown} text
 * @param {LogLevel} level
 * @param {Record<string, unknown>} fields
 */
function lineOf(text, level, fields) {
  return JSON.stringify(cleaned({ ...fields, at: new Date().toISOString(), level, text: textOf(text) })) + "\n";
}

/** @param {unknown} text */
function textOf(text) {
  try {
    return text instanceof Error ? (text.stack ?? String(text)) : String(text);
  } catch {
    return "";
  }
}

/**
 * A timer that does not keep Node from exiting.
 *
 * @param {() => void} work
 * @param {number} milliseconds
 */
function later(work, milliseconds) {
  const timer = setTimeout(work, milliseconds);
  if (typeof timer === "object" && "unref" in timer) timer.unref();
  return timer;
}
