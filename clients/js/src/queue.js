/** Queue of a crawler's runs: starts them up to the concurrency limit, and remembers those that have ended. */

import { TaskGone } from "./errors.js";
import { TaskWriter } from "./writer.js";

/** @typedef {import("./writer.js").WriterOptions} WriterOptions */

/**
 * @typedef {object} StartRequest
 * What Headwater sends to start a task.
 * @property {string} fid
 * @property {number | null} version The External's version.
 * @property {Record<string, any>} params
 * @property {Record<string, any> | null} credential
 * @property {string} endpoint
 * @property {string} token
 *
 * @typedef {object} CrawlTask
 * A task, as passed to the crawl function.
 * @property {string} fid
 * @property {number | null} version The External's version, which increases with each edit.
 * @property {Record<string, any>} params The crawler's params merged with the task's; passwords in plain text.
 * @property {Record<string, any> | null} credential
 * @property {TaskWriter["write"]} write
 * @property {TaskWriter["writeAll"]} writeAll
 * @property {TaskWriter["flush"]} flush
 * @property {TaskWriter["status"]} status
 * @property {TaskWriter["log"]} log
 * @property {AbortSignal} signal Aborted when the task was stopped, deleted or retried: stop crawling.
 * @property {TaskWriter} writer
 *
 * @typedef {(task: CrawlTask) => Promise<unknown> | unknown} Crawl
 *
 * @typedef {object} RunOptions
 * @property {Crawl} crawl
 * @property {number} concurrency
 * @property {number} queue
 * @property {Omit<WriterOptions, "signal">} writer
 * @property {(error: unknown, task: {fid: string}) => void} onError
 */

/** Seconds between heartbeats of a queued task: Headwater times out a task that is silent for too long. */
const HEARTBEAT_INTERVAL = 60;

/** Number of ended tasks to remember, since Headwater repeats a start request whose response was lost. */
const REMEMBERED = 1000;

/** One attempt of a task, queued or running. */
class Run {
  control = new AbortController();
  /** Runs while it is queued. @type {ReturnType<typeof setInterval> | undefined} */
  heartbeat;
  /** @type {Promise<void>} */
  ended = Promise.resolve();

  /**
   * @param {StartRequest} request
   * @param {Omit<WriterOptions, "signal">} options
   */
  constructor(request, options) {
    this.request = request;
    this.writer = new TaskWriter(request.endpoint, request.token, { ...options, signal: this.control.signal });
  }

  /** The task, as passed to the crawl function. @returns {CrawlTask} */
  get task() {
    const { fid, version, params, credential } = this.request;
    const { writer } = this;
    return {
      fid,
      version,
      params,
      credential,
      // Bound, so that they can be destructured.
      write: writer.write.bind(writer),
      writeAll: writer.writeAll.bind(writer),
      flush: writer.flush.bind(writer),
      status: writer.status.bind(writer),
      log: writer.log.bind(writer),
      signal: writer.signal,
      writer,
    };
  }
}

export class RunQueue {
  #options;
  /** Includes aborted runs whose crawl function has not returned yet. @type {Set<Run>} */
  #running = new Set();
  /** @type {Run[]} */
  #waiting = [];
  /** The token of each task's latest attempt, running or ended. @type {Map<string, string>} */
  #tokens = new Map();

  /** @param {RunOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Start a task, or queue it. Idempotent per attempt; a new attempt aborts the previous one.
   *
   * @param {StartRequest} request
   * @returns {string | undefined} Its state, human-readable; undefined if the queue is full.
   */
  begin(request) {
    if (this.#tokens.get(request.fid) === request.token) return this.#describe(this.#open(request.fid));
    this.abort(request.fid, "the task was retried");
    const begins = this.#running.size < this.#options.concurrency;
    if (!begins && this.#waiting.length >= this.#options.queue) return undefined;
    const run = new Run(request, this.#options.writer);
    this.#remember(request);
    if (begins) {
      this.#start(run);
    } else {
      this.#waiting.push(run);
      run.heartbeat = setInterval(() => this.#sendHeartbeat(run), HEARTBEAT_INTERVAL * 1000);
    }
    return this.#describe(run);
  }

  /**
   * Abort a task that Headwater has ended, without reporting a status.
   *
   * @param {string} fid
   * @param {string} why
   * @returns {boolean} Whether it was running or queued.
   */
  abort(fid, why) {
    const run = this.#open(fid);
    if (!run) return false;
    clearInterval(run.heartbeat);
    this.#waiting = this.#waiting.filter((other) => other !== run);
    run.control.abort(new TaskGone(why));
    return true;
  }

  /**
   * Shut down: fail queued runs, wait for running ones, and fail those still running after the grace period.
   *
   * @param {number} grace Seconds.
   */
  async end(grace) {
    const why = new Error("the crawler was shut down");
    const reports = this.#waiting.splice(0).map((run) => this.#kill(run, why));
    const ends = Promise.all([...this.#running].map((run) => run.ended));
    await withinSeconds(grace, ends);
    reports.push(...[...this.#running].map((run) => this.#kill(run, why)));
    await Promise.all(reports);
  }

  /** @param {Run} run */
  #start(run) {
    clearInterval(run.heartbeat);
    this.#running.add(run);
    run.ended = this.#crawl(run).finally(() => {
      this.#running.delete(run);
      const next = this.#waiting.shift();
      if (next) this.#start(next);
    });
  }

  /** @param {Run} run */
  async #crawl(run) {
    try {
      await run.writer.run(() => this.#options.crawl(run.task));
    } catch (error) {
      // Headwater ended the task itself.
      if (!(error instanceof TaskGone)) this.#options.onError(error, { fid: run.request.fid });
    }
  }

  /**
   * Abort a run and report its failure, without waiting for the crawl function to return.
   *
   * @param {Run} run
   * @param {Error} why
   */
  async #kill(run, why) {
    clearInterval(run.heartbeat);
    if (run.control.signal.aborted) return;
    run.control.abort(why);
    await run.writer.fail(why);
  }

  /** @param {Run} run */
  async #sendHeartbeat(run) {
    try {
      await run.writer.status(102, this.#describe(run));
    } catch (error) {
      if (error instanceof TaskGone) this.abort(run.request.fid, error.message);
      // Other errors are ignored: the next heartbeat may succeed.
    }
  }

  /** @param {Run | undefined} run */
  #describe(run) {
    const place = run ? this.#waiting.indexOf(run) : -1;
    return place < 0 ? "begun" : `waits for its turn, as number ${place + 1}`;
  }

  /**
   * Return the attempt of a task that is running or queued, and not aborted.
   *
   * @param {string} fid
   */
  #open(fid) {
    return [...this.#running, ...this.#waiting].find(
      (run) => run.request.fid === fid && !run.control.signal.aborted && !run.writer.closed,
    );
  }

  /** @param {StartRequest} request */
  #remember({ fid, token }) {
    // Deleted first, to move it to the end of the insertion order: the oldest are evicted first.
    this.#tokens.delete(fid);
    this.#tokens.set(fid, token);
    for (const oldest of this.#tokens.keys()) {
      if (this.#tokens.size <= REMEMBERED) break;
      if (!this.#open(oldest)) this.#tokens.delete(oldest);
    }
  }
}

/**
 * Wait for a promise, with a timeout.
 *
 * @param {number} seconds
 * @param {Promise<unknown>} what
 */
async function withinSeconds(seconds, what) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
  await Promise.race([what, late]);
  clearTimeout(timer);
}
