/** Access to tasks: start, list, delete, restore, upload. */

import { cleaned } from "./cleaning.js";
import { bearer } from "./endpoint.js";
import { HeadwaterError, TaskAlreadyRunning } from "./errors.js";
import { followed } from "./event_stream.js";
import { uploadSource } from "./upload.js";
import { TaskWriter } from "./writer.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").BegunTask} BegunTask */
/** @typedef {import("./types.js").Deletion} Deletion */
/** @typedef {import("./log.js").LogLevel} LogLevel */
/** @typedef {import("./types.js").LogLine} LogLine */
/** @typedef {import("./types.js").Receipt} Receipt */
/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").TaskState} TaskState */
/** @typedef {import("./types.js").UploadTarget} UploadTarget */
/** @typedef {import("./upload.js").Source} Source */
/** @typedef {import("./upload.js").UploadOptions} UploadOptions */
/** @typedef {import("./writer.js").WriterOptions} WriterOptions */

/**
 * @typedef {string | {fid: string}} Named
 * An object or its fid.
 *
 * @typedef {object} TaskFilters
 * @property {TaskState | TaskState[]} [state] One or several.
 * @property {Named} [crawler]
 * @property {Named} [stream]
 * @property {Named} [external]
 * @property {string} [name] The task's `meta.name`.
 * @property {Date | string} [since] Started then or later.
 * @property {Date | string} [until] Started before then.
 * @property {Date | string} [endedSince] Ended then or later.
 * @property {string} [sort] `created_at`, `started_at`, `ended_at`, `duration` or `docs`; with `-`, highest first.
 * @property {number} [limit] Page size (1000, the maximum).
 *
 * @typedef {object} LogFilters
 * @property {number} [attempt] Of this attempt (the current one).
 * @property {LogLevel} [level] Lines of this level or above.
 * @property {string} [q] Text that a line contains.
 * @property {number} [tail] Begin with the last lines, so many.
 * @property {boolean} [follow] Wait for further lines, until the attempt is over.
 * @property {AbortSignal} [signal] With `follow`: ends the iteration by throwing its reason.
 * @property {number} [limit] Page size (1000, the maximum); not with `follow`.
 */

/**
 * @typedef {object} RunOptions
 * How a run is started.
 * @property {Record<string, unknown> | undefined} [params] They override the crawler's, key by key.
 * @property {"merge" | "snapshot" | undefined} [mode] If not the crawler's.
 * @property {string[] | undefined} [scope] Conditions on the documents that a snapshot may hide, if not the crawler's.
 */

export class Tasks {
  #api;

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
  }

  /**
   * Start a task of a crawler. If the crawler has an open task, that one is returned, with `alreadyRunning` set.
   *
   * @param {Named} crawler
   * @param {RunOptions} [options]
   * @returns {Promise<BegunTask>}
   */
  create(crawler, options = {}) {
    return this.#start(["actions", "crawlers", fidOf(crawler), "task"], options);
  }

  /**
   * Run a task again, as its next attempt. If its crawler has an open task, that one is returned, with
   * `alreadyRunning` set.
   *
   * @param {Task | Named} task
   * @param {{params?: Record<string, unknown> | undefined}} [options]
   * @returns {Promise<BegunTask>}
   */
  async retry(task, { params } = {}) {
    const { fid, crawler } = typeof task === "object" && "crawler" in task ? task : await this.get(task);
    return this.#start(["actions", "crawlers", crawler, "task", fid], { params });
  }

  /**
   * Remove a task's documents from its stream; a running task is stopped. With `dryRun`, only count what would change.
   *
   * @overload
   * @param {Named} task
   * @param {{dryRun?: false | undefined}} [options]
   * @returns {Promise<Task>}
   */
  /**
   * @overload
   * @param {Named} task
   * @param {{dryRun: true}} options
   * @returns {Promise<Deletion>}
   */
  /**
   * @param {Named} task
   * @param {{dryRun?: boolean | undefined}} [options]
   * @returns {Promise<any>}
   */
  async delete(task, { dryRun } = {}) {
    const query = { dry_run: dryRun || undefined };
    return (await this.#api.call("DELETE", ["actions", "tasks", fidOf(task)], { query })).body["payload"];
  }

  /**
   * Restore a deleted task's documents at their original position.
   *
   * @param {Named} task
   * @returns {Promise<Task>}
   */
  async restore(task) {
    return (await this.#api.call("POST", ["actions", "tasks", fidOf(task), "restore"])).body["payload"];
  }

  /**
   * End an open task with 410 and keep its documents.
   *
   * @param {Named} task
   * @returns {Promise<Task>}
   */
  async stop(task) {
    return (await this.#api.call("POST", ["actions", "tasks", fidOf(task), "stop"])).body["payload"];
  }

  /**
   * Publish a successful task that a gate has held back.
   *
   * @param {Named} task
   * @returns {Promise<Task>}
   */
  async publish(task) {
    return (await this.#api.call("POST", ["actions", "tasks", fidOf(task), "publish"])).body["payload"];
  }

  /**
   * @param {Named} task
   * @returns {Promise<Task>}
   */
  async get(task) {
    return (await this.#api.call("GET", ["tasks", fidOf(task)])).body["payload"];
  }

  /**
   * List tasks, newest first or by `sort`; by `ended_at` and `duration` only tasks that have ended.
   *
   * @param {TaskFilters} [filters]
   * @returns {AsyncGenerator<Task, void, undefined>}
   */
  list({ state, crawler, stream, external, name, since, until, endedSince, sort, limit } = {}) {
    const belongsTo = {
      crawler: crawler && fidOf(crawler),
      stream: stream && fidOf(stream),
      external: external && fidOf(external),
    };
    const times = { since: moment(since), until: moment(until), ended_since: moment(endedSince) };
    const states = Array.isArray(state) ? state.join(",") : state;
    return this.#api.pages(["tasks"], { state: states, ...belongsTo, name, ...times, sort, limit });
  }

  /**
   * Read the log of a task, oldest lines first.
   *
   * @param {Named} task
   * @param {LogFilters} [filters]
   * @returns {AsyncGenerator<LogLine, void, undefined>}
   */
  log(task, { follow, signal, limit, ...filters } = {}) {
    const path = ["tasks", fidOf(task), "log"];
    if (!follow) return this.#api.pages(path, { ...filters, limit });
    return followed(this.#api, this.#api.address(path, { ...filters, follow: true }), undefined, signal);
  }

  /**
   * Write a line to a task's log, authorized by the API key.
   *
   * @param {Named} task
   * @param {string} text
   * @param {LogLevel} [level]
   * @param {Record<string, unknown>} [fields] Further fields, any JSON.
   * @returns {Promise<void>}
   */
  async addLog(task, text, level = "info", fields = {}) {
    const json = cleaned({ ...fields, level, text });
    await this.#api.call("POST", ["actions", "tasks", fidOf(task), "log"], { json });
  }

  /**
   * Report a task's status, authorized by the API key.
   *
   * @param {Named} task
   * @param {number} code 102 while it runs, 2xx when it is done, 4xx or 5xx when it failed.
   * @param {string | null} [message] Human-readable.
   * @param {unknown} [detail] Any JSON.
   * @returns {Promise<Task>}
   */
  async status(task, code, message, detail) {
    const json = cleaned({ code, message: message ?? undefined, detail });
    return (await this.#api.call("POST", ["actions", "tasks", fidOf(task), "status"], { json })).body["payload"];
  }

  /**
   * Upload newline-delimited JSON in one atomic upload.
   *
   * It is compressed while being sent, and never held in memory. A browser that cannot stream request bodies compresses
   * it into a Blob first, which it keeps on disk if it is large.
   *
   * @param {Named & {upload?: UploadTarget | null} | string} task
   * @param {Source} source A Blob or File, a stream, or in Node a path. A stream can be read only once, so it
   *   is not retried; other sources are resent after transient failures.
   * @param {UploadOptions} [options]
   * @returns {Promise<Receipt>}
   */
  async upload(task, source, options = {}) {
    const token = typeof task === "object" ? task.upload?.token : undefined;
    const authorization = token ? bearer(token) : this.#api.authorization;
    const url = this.#api.address(["actions", "tasks", fidOf(task), "upload"]);
    return uploadSource({ url, authorization, retryFor: this.#api.retryFor }, source, options);
  }

  /**
   * Start a task of a push crawler, and return a writer for its documents.
   *
   * @param {Named} crawler
   * @param {WriterOptions & RunOptions} [options]
   * @returns {Promise<TaskWriter>}
   * @throws {TaskAlreadyRunning} The crawler has an open task, which is the error's `task`.
   */
  async writer(crawler, { params, mode, scope, ...options } = {}) {
    const task = await this.create(crawler, { params, mode, scope });
    if (task.alreadyRunning) throw new TaskAlreadyRunning(task);
    if (!task.upload) {
      throw new HeadwaterError(`task ${task.fid} is not ours to write: its External has an endpoint, which runs it`);
    }
    // Not the endpoint in the response: this client's URL is known to work, the server's idea of its own may not.
    return new TaskWriter(this.#api.address(["actions", "tasks", task.fid]), task.upload.token, options);
  }

  /**
   * @param {string[]} path
   * @param {RunOptions} options
   * @returns {Promise<BegunTask>}
   */
  async #start(path, { params = {}, mode, scope }) {
    const { status, body } = await this.#api.call("POST", path, { json: { params, mode, scope } });
    return { upload: null, ...body["payload"], alreadyRunning: status === 208 };
  }
}

/** @param {Date | string | undefined} value */
function moment(value) {
  return value instanceof Date ? value.toISOString() : value;
}

/** @param {Named} named */
function fidOf(named) {
  return typeof named === "string" ? named : named.fid;
}
