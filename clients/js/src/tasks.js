/** Tasks: started, watched, undone, uploaded to. */

import { bearer } from "./endpoint.js";
import { HeadwaterError, TaskAlreadyRunning } from "./errors.js";
import { uploadSource } from "./uploading.js";
import { TaskWriter } from "./writer.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").BegunTask} BegunTask */
/** @typedef {import("./types.js").Deletion} Deletion */
/** @typedef {import("./types.js").Receipt} Receipt */
/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").TaskState} TaskState */
/** @typedef {import("./types.js").UploadTarget} UploadTarget */
/** @typedef {import("./uploading.js").Source} Source */
/** @typedef {import("./uploading.js").UploadOptions} UploadOptions */
/** @typedef {import("./writer.js").WriterOptions} WriterOptions */

/**
 * @typedef {string | {fid: string}} Named
 * An object, or its fid.
 *
 * @typedef {object} TaskFilters
 * @property {TaskState} [state]
 * @property {Named} [crawler]
 * @property {Named} [stream]
 * @property {Named} [external]
 * @property {string} [name] The task's `meta.name`.
 * @property {number} [limit] Tasks that are asked for at a time (1000, which is the most).
 */

export class Tasks {
  #api;

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
  }

  /**
   * Start a run of a crawler. If it has an open one, that is what comes back, with `alreadyRunning`.
   *
   * @param {Named} crawler
   * @param {{params?: Record<string, unknown> | undefined}} [options] `params` override the crawler's, key by key.
   * @returns {Promise<BegunTask>}
   */
  create(crawler, { params } = {}) {
    return this.#begin(["actions", "crawlers", fidOf(crawler), "task"], params);
  }

  /**
   * Run a task again, as its next attempt. If its crawler has an open one, that comes back, with `alreadyRunning`.
   *
   * @param {Task | Named} task
   * @param {{params?: Record<string, unknown> | undefined}} [options]
   * @returns {Promise<BegunTask>}
   */
  async retry(task, { params } = {}) {
    const { fid, crawler } = typeof task === "object" && "crawler" in task ? task : await this.get(task);
    return this.#begin(["actions", "crawlers", crawler, "task", fid], params);
  }

  /**
   * Take a task's documents out of its stream; if it runs, it is stopped. With `dryRun`, only tell what that would do.
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
   * Put a deleted task's documents back at their place in the order.
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
   * Let a task in that ended well and that a gate kept out of its stream.
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
   * List tasks, newest first.
   *
   * @param {TaskFilters} [filters]
   * @returns {AsyncGenerator<Task, void, undefined>}
   */
  list({ state, crawler, stream, external, name, limit } = {}) {
    const belongsTo = {
      crawler: crawler && fidOf(crawler),
      stream: stream && fidOf(stream),
      external: external && fidOf(external),
    };
    return this.#api.pages(["tasks"], { state, ...belongsTo, name, limit });
  }

  /**
   * Report how a task goes, with the key.
   *
   * @param {Named} task
   * @param {number} code 102 while it runs, 2xx when it is done, 4xx or 5xx when it failed.
   * @param {string | null} [message] For people.
   * @param {unknown} [detail] Any JSON.
   * @returns {Promise<Task>}
   */
  async status(task, code, message, detail) {
    const json = { code, message: message ?? undefined, detail };
    return (await this.#api.call("POST", ["actions", "tasks", fidOf(task), "status"], { json })).body["payload"];
  }

  /**
   * Upload lines of JSON as they are, in one upload that is taken whole or not at all.
   *
   * They are compressed on the way and not held in memory. A browser that cannot send a stream compresses them into a
   * Blob first, which it keeps on disk if it is large.
   *
   * @param {Named & {upload?: UploadTarget | null} | string} task
   * @param {Source} source A Blob or File, a stream, or in Node a path. A stream can be read once only, so that it is
   *   sent once; all else is sent again after a failure that may pass.
   * @param {UploadOptions} [options]
   * @returns {Promise<Receipt>}
   */
  async upload(task, source, options = {}) {
    const token = typeof task === "object" ? task.upload?.token : undefined;
    const authorization = token ? bearer(token) : this.#api.authorization;
    const url = this.#api.address(["actions", "tasks", fidOf(task), "upload"]);
    return uploadSource({ url, authorization, patience: this.#api.patience }, source, options);
  }

  /**
   * Start a run of a push crawler, and return what writes its documents.
   *
   * @param {Named} crawler
   * @param {WriterOptions & {params?: Record<string, unknown> | undefined}} [options]
   * @returns {Promise<TaskWriter>}
   * @throws {TaskAlreadyRunning} Its crawler has an open task; it is the error's `task`.
   */
  async writer(crawler, { params, ...options } = {}) {
    const task = await this.create(crawler, { params });
    if (task.alreadyRunning) throw new TaskAlreadyRunning(task);
    if (!task.upload) {
      throw new HeadwaterError(`task ${task.fid} is not ours to write: its External has an endpoint, which runs it`);
    }
    // Not the endpoint of the answer: we reach Headwater here, whatever it takes its own address for.
    return new TaskWriter(this.#api.address(["actions", "tasks", task.fid]), task.upload.token, options);
  }

  /**
   * @param {string[]} path
   * @param {Record<string, unknown> | undefined} params
   * @returns {Promise<BegunTask>}
   */
  async #begin(path, params) {
    const { status, body } = await this.#api.call("POST", path, { json: { params: params ?? {} } });
    return { upload: null, ...body["payload"], alreadyRunning: status === 208 };
  }
}

/** @param {Named} named */
function fidOf(named) {
  return typeof named === "string" ? named : named.fid;
}
