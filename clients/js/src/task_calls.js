/** The two calls of a crawler, upload and status, and what their answers mean for it. */

import { bearer, parted } from "./endpoint.js";
import { DocumentRejected, TaskGone } from "./errors.js";
import { slugOf } from "./problems.js";
import { NoAnswer, mayPass, persist, send, taken } from "./transport.js";

/** @typedef {import("./parcel.js").Parcel} Parcel */
/** @typedef {import("./transport.js").Answer} Answer */
/** @typedef {import("./types.js").Receipt} Receipt */
/** @typedef {import("./types.js").Task} Task */

/**
 * @typedef {object} Limits
 * @property {number} patience Seconds for which a call is tried again.
 * @property {number} [timeout] Seconds that one try may take, if they are not those of all calls.
 * @property {AbortSignal} [signal] Breaks it off.
 */

/** Conflicts that say that the task wants nothing more of this attempt. */
const OVER = new Set(["task-closed", "task-removed", "task-purged", "moved-meanwhile"]);

/** Problems that a document has, and not its task. */
const REJECTED = new Set(["upload-broken", "document-invalid"]);

export class TaskCalls {
  #url;
  #authorization;
  #timeout;

  /**
   * @param {string | URL} endpoint
   * @param {string | undefined} token
   * @param {number} timeout Seconds that one try may take.
   */
  constructor(endpoint, token, timeout) {
    const target = parted(endpoint, token);
    this.#url = target.url;
    this.fid = target.fid;
    this.#authorization = bearer(target.token);
    this.#timeout = timeout;
  }

  /**
   * Upload lines.
   *
   * @param {Parcel} parcel
   * @param {Limits} limits
   * @returns {Promise<Receipt>}
   * @throws {DocumentRejected | TaskGone}
   */
  async upload(parcel, limits) {
    const headers = {
      "Content-Type": "application/x-ndjson",
      ...(parcel.isCompressed ? { "Content-Encoding": "gzip" } : {}),
      // The same in each try: one that arrived but whose answer was lost is not stored again.
      "Idempotency-Key": newKey(),
    };
    const answer = await this.#post("upload", headers, await parcel.body(), limits);
    if (REJECTED.has(slugOf(answer.type))) throw await rejection(answer, parcel);
    return taken(answer)["payload"];
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
    return taken(await this.#post("status", { "Content-Type": "application/json" }, text, limits))["payload"];
  }

  /**
   * @param {"upload" | "status"} what
   * @param {Record<string, string>} headers
   * @param {NonNullable<RequestInit["body"]>} body
   * @param {Limits} limits
   */
  async #post(what, headers, body, { patience, timeout = this.#timeout, signal }) {
    const request = {
      method: "POST",
      url: `${this.#url}/${what}`,
      headers: new Headers({ Authorization: this.#authorization, ...headers }),
      body,
      signal,
      timeout,
    };
    const answer = await persist(() => send(request), { again: mayComeLater, patience, signal });
    if (isOver(answer)) throw new TaskGone(answer.message, { ...answer.told, cause: answer.error });
    return answer;
  }
}

/** Return an Idempotency-Key that nothing else has; `crypto.randomUUID` is missing on pages without TLS. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Whether a failed try may succeed later. A try whose connection broke may be under way still, and has our key.
 *
 * @param {Answer | NoAnswer} failure
 */
export function mayComeLater(failure) {
  return failure instanceof NoAnswer || mayPass(failure) || slugOf(failure.type) === "upload-in-flight";
}

/** @param {Answer} answer */
function isOver(answer) {
  return answer.status === 401 || answer.status === 404 || (answer.status === 409 && OVER.has(slugOf(answer.type)));
}

/**
 * @param {Answer} answer
 * @param {Parcel} parcel
 */
async function rejection(answer, parcel) {
  const line = answer.told.errors[0]?.line;
  const document = typeof line === "number" ? await parcel.document(line) : undefined;
  return new DocumentRejected(answer.message, { ...answer.told, document, cause: answer.error });
}
