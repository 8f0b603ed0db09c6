/** The tasks that a crawler works on: some at once, others waiting for their turn, and those that have ended. */

import { TaskGone } from "./errors.js";
import { TaskWriter } from "./writer.js";

/** @typedef {import("./writer.js").WriterOptions} WriterOptions */

/**
 * @typedef {object} Order
 * What Headwater sends to begin a task.
 * @property {string} fid
 * @property {number | null} version The External's.
 * @property {Record<string, any>} params
 * @property {Record<string, any> | null} credential
 * @property {string} endpoint
 * @property {string} token
 *
 * @typedef {object} CrawlTask
 * A task, as the function sees it that crawls.
 * @property {string} fid
 * @property {number | null} version The External's, which grows with each edit.
 * @property {Record<string, any>} params The crawler's and the task's own, with passwords in clear.
 * @property {Record<string, any> | null} credential
 * @property {TaskWriter["write"]} write
 * @property {TaskWriter["writeAll"]} writeAll
 * @property {TaskWriter["flush"]} flush
 * @property {TaskWriter["status"]} status
 * @property {AbortSignal} signal Fires when the task was ended by somebody else: stop crawling.
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

/** Seconds between the reports of a task that waits: Headwater ends one that is silent for too long. */
const SIGN_OF_LIFE = 60;

/** So many ended tasks are remembered, since Headwater asks again if our answer was lost. */
const REMEMBERED = 1000;

/** One attempt of a task. */
class Run {
  control = new AbortController();
  /** While it waits. @type {ReturnType<typeof setInterval> | undefined} */
  signs;
  /** @type {Promise<void>} */
  ended = Promise.resolve();

  /**
   * @param {Order} order
   * @param {Omit<WriterOptions, "signal">} options
   */
  constructor(order, options) {
    this.order = order;
    this.writer = new TaskWriter(order.endpoint, order.token, { ...options, signal: this.control.signal });
  }

  /** The task as the crawling function sees it. @returns {CrawlTask} */
  get task() {
    const { fid, version, params, credential } = this.order;
    const { writer } = this;
    return {
      fid,
      version,
      params,
      credential,
      // Bound, so that they can be taken out of the task.
      write: writer.write.bind(writer),
      writeAll: writer.writeAll.bind(writer),
      flush: writer.flush.bind(writer),
      status: writer.status.bind(writer),
      signal: writer.signal,
      writer,
    };
  }
}

export class Runs {
  #options;
  /** Those that crawl, and those that were broken off and have not noticed yet. @type {Set<Run>} */
  #running = new Set();
  /** @type {Run[]} */
  #waiting = [];
  /** The token of each task's newest attempt, of those that have ended too. @type {Map<string, string>} */
  #tokens = new Map();

  /** @param {RunOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Begin a task, or let it wait. The same attempt again changes nothing; another one breaks off the former.
   *
   * @param {Order} order
   * @returns {string | undefined} How it stands, for people; undefined if no more can be taken.
   */
  begin(order) {
    if (this.#tokens.get(order.fid) === order.token) return this.#standing(this.#open(order.fid));
    this.abort(order.fid, "the task was retried");
    const begins = this.#running.size < this.#options.concurrency;
    if (!begins && this.#waiting.length >= this.#options.queue) return undefined;
    const run = new Run(order, this.#options.writer);
    this.#remember(order);
    if (begins) {
      this.#start(run);
    } else {
      this.#waiting.push(run);
      run.signs = setInterval(() => this.#giveSign(run), SIGN_OF_LIFE * 1000);
    }
    return this.#standing(run);
  }

  /**
   * Break off a task that somebody else has ended; nothing is reported of it.
   *
   * @param {string} fid
   * @param {string} why
   * @returns {boolean} Whether it ran or waited.
   */
  abort(fid, why) {
    const run = this.#open(fid);
    if (!run) return false;
    clearInterval(run.signs);
    this.#waiting = this.#waiting.filter((other) => other !== run);
    run.control.abort(new TaskGone(why));
    return true;
  }

  /**
   * Fail what waits, and what is not through after some seconds.
   *
   * @param {number} grace
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
    clearInterval(run.signs);
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
      // Whoever ended a task knows it.
      if (!(error instanceof TaskGone)) this.#options.onError(error, { fid: run.order.fid });
    }
  }

  /**
   * Break off a task and report that, without waiting until it notices.
   *
   * @param {Run} run
   * @param {Error} why
   */
  async #kill(run, why) {
    clearInterval(run.signs);
    if (run.control.signal.aborted) return;
    run.control.abort(why);
    await run.writer.fail(why);
  }

  /** @param {Run} run */
  async #giveSign(run) {
    try {
      await run.writer.status(102, this.#standing(run));
    } catch (error) {
      if (error instanceof TaskGone) this.abort(run.order.fid, error.message);
      // Anything else may be better the next time.
    }
  }

  /** @param {Run | undefined} run */
  #standing(run) {
    const place = run ? this.#waiting.indexOf(run) : -1;
    return place < 0 ? "begun" : `waits for its turn, as number ${place + 1}`;
  }

  /**
   * Return the attempt of a task that runs or waits, and was not broken off.
   *
   * @param {string} fid
   */
  #open(fid) {
    return [...this.#running, ...this.#waiting].find(
      (run) => run.order.fid === fid && !run.control.signal.aborted && !run.writer.closed,
    );
  }

  /** @param {Order} order */
  #remember({ fid, token }) {
    // Deleted first, so that it stands at the end of the order in which they are forgotten.
    this.#tokens.delete(fid);
    this.#tokens.set(fid, token);
    for (const oldest of this.#tokens.keys()) {
      if (this.#tokens.size <= REMEMBERED) break;
      if (!this.#open(oldest)) this.#tokens.delete(oldest);
    }
  }
}

/**
 * Wait for something, but not for long.
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
