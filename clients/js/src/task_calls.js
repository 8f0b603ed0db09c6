/** The two calls that a crawler makes for its task, upload and status, authorized by the task's token. */

import { bearer, parted } from "./endpoint.js";
import { DocumentRejected, TaskGone } from "./errors.js";
import { slugOf } from "./problem_types.js";
import { NoAnswer, isTransientStatus, retry, send, successBody } from "./transport.js";

/** @typedef {import("./batch.js").Batch} Batch */
/** @typedef {import("./transport.js").Answer} Answer */
/** @typedef {import("./types.js").Receipt} Receipt */
/** @typedef {import("./types.js").Task} Task */

/**
 * @typedef {object} Limits
 * @property {number} retryFor Seconds for which a failed call is retried.
 * @property {number} [timeout] Timeout of one attempt in seconds, if other than the default.
 * @property {AbortSignal} [signal] Aborts the call.
 */

/** Problem types of a 409 which mean that this attempt of the task is over. */
const OVER = new Set(["task-closed", "task-removed", "task-purged", "moved-meanwhile"]);

/** Problem types caused by a document. */
const REJECTED = new Set(["upload-broken", "document-invalid"]);

export class TaskCalls {
  #url;
  #authorization;
  #timeout;

  /**
   * @param {string | URL} endpoint
   * @param {string | undefined} token
   * @param {number} timeout Default timeout of one attempt, in seconds.
   */
  constructor(endpoint, token, timeout) {
    const target = parted(endpoint, token);
    this.#url = target.url;
    this.fid = target.fid;
    this.#authorization = bearer(target.token);
    this.#timeout = timeout;
  }

  /**
   * Upload a batch.
   *
   * @param {Batch} batch
   * @param {Limits} limits
   * @returns {Promise<Receipt>}
   * @throws {DocumentRejected | TaskGone}
   */
  async upload(batch, limits) {
    const headers = {
      "Content-Type": "application/x-ndjson",
      ...(batch.isCompressed ? { "Content-Encoding": "gzip" } : {}),
      // The same for all attempts: an upload whose response was lost is not stored twice.
      "Idempotency-Key": newKey(),
    };
    const answer = await this.#post("upload", headers, await batch.body(), limits);
    if (REJECTED.has(slugOf(answer.type))) throw await rejection(answer, batch);
    return successBody(answer)["payload"];
  }

  /**
   * Report a status.
   *
   * @param {string} text The report, as JSON.
   * @param {Limits} limits
   * @returns {Promise<Task>}
   * @throws {TaskGone}
   */
  async report(text, limits) {
    return successBody(await this.#post("status", { "Content-Type": "application/json" }, text, limits))["payload"];
  }

  /**
   * Append lines to the task's log.
   *
   * @param {string} lines
   * @param {Limits} limits
   * @throws {TaskGone}
   */
  async log(lines, limits) {
    successBody(await this.#post("log", { "Content-Type": "application/x-ndjson" }, lines, limits));
  }

  /**
   * @param {"upload" | "status" | "log"} what
   * @param {Record<string, string>} headers
   * @param {NonNullable<RequestInit["body"]>} body
   * @param {Limits} limits
   */
  async #post(what, headers, body, { retryFor, timeout = this.#timeout, signal }) {
    const request = {
      method: "POST",
      url: `${this.#url}/${what}`,
      headers: new Headers({ Authorization: this.#authorization, ...headers }),
      body,
      signal,
      timeout,
    };
    const answer = await retry(() => send(request), { again: isTransient, retryFor, signal });
    if (isOver(answer)) throw new TaskGone(answer.message, { ...answer.fields, cause: answer.error });
    return answer;
  }
}

/** Return a unique Idempotency-Key. Not `crypto.randomUUID`, which is missing on pages without TLS. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Whether a failed upload or status may succeed later. After a broken connection the server may still be processing
 * the first attempt, and answers `upload-in-flight` to the same key.
 *
 * @param {Answer | NoAnswer} failure
 */
export function isTransient(failure) {
  return failure instanceof NoAnswer || isTransientStatus(failure) || slugOf(failure.type) === "upload-in-flight";
}

/** @param {Answer} answer */
function isOver(answer) {
  return answer.status === 401 || answer.status === 404 || (answer.status === 409 && OVER.has(slugOf(answer.type)));
}

/**
 * @param {Answer} answer
 * @param {Batch} batch
 */
async function rejection(answer, batch) {
  const line = answer.fields.errors[0]?.line;
  const document = typeof line === "number" ? await batch.document(line) : undefined;
  return new DocumentRejected(answer.message, { ...answer.fields, document, cause: answer.error });
}
