/** The calls of somebody with an API key. */

import { bearer, httpUrl } from "./endpoint.js";
import { textOf } from "./json.js";
import { NoAnswer, mayPass, persist, send, taken } from "./transport.js";

/** @typedef {import("./transport.js").Answer} Answer */
/** @typedef {string | number | boolean | null | undefined} Value */
/** @typedef {Record<string, Value | Value[]>} Query */

/** Objects on a page of a list. */
const LONGEST_PAGE = 1000;

export class Api {
  /** Without a slash at its end. */
  url;
  authorization;
  /** Seconds for which a call is tried again. */
  patience;
  /** Seconds that one try may take. */
  timeout;

  /**
   * @param {string | URL} url
   * @param {string} key
   * @param {{patience: number, timeout: number}} how
   */
  constructor(url, key, { patience, timeout }) {
    const { origin, pathname } = httpUrl(url);
    this.url = origin + pathname.replace(/\/+$/, "");
    this.authorization = bearer(key);
    this.patience = patience;
    this.timeout = timeout;
  }

  /**
   * Make a call, and again while it may come to something and cannot do anything twice.
   *
   * @param {"GET" | "POST" | "PUT" | "DELETE"} method
   * @param {string[]} path Its parts, not encoded yet.
   * @param {{query?: Query, json?: unknown}} [what]
   * @returns {Promise<{status: number, body: Record<string, any>}>}
   */
  async call(method, path, { query = {}, json } = {}) {
    const headers = new Headers({ Authorization: this.authorization });
    if (json !== undefined) headers.set("Content-Type", "application/json");
    const url = this.address(path, query);
    const text = textOf(json);
    const request = { method, url, headers, timeout: this.timeout, ...(text === undefined ? {} : { body: text }) };
    const again = method === "POST" ? wasNotTaken : mayBeTaken;
    const answer = await persist(() => send(request), { again, patience: this.patience });
    return { status: answer.status, body: taken(answer) };
  }

  /**
   * List objects, page after page.
   *
   * @param {string[]} path
   * @param {Query} query
   * @returns {AsyncGenerator<any, void, undefined>}
   */
  async *pages(path, { limit = LONGEST_PAGE, ...query }) {
    let cursor = null;
    do {
      /** @type {{body: Record<string, any>}} */
      const { body } = await this.call("GET", path, { query: { ...query, limit, cursor } });
      yield* body["payload"];
      cursor = body["next_cursor"];
    } while (cursor);
  }

  /**
   * @param {string[]} path
   * @param {Query} [query] What is null or undefined in it is left out; a list is a parameter given several times.
   */
  address(path, query = {}) {
    const search = new URLSearchParams();
    for (const [name, values] of Object.entries(query)) {
      for (const value of Array.isArray(values) ? values : [values]) {
        if (value !== null && value !== undefined) search.append(name, String(value));
      }
    }
    return `${this.url}/${path.map(encodeURIComponent).join("/")}${search.size > 0 ? `?${search}` : ""}`;
  }
}

/** @param {Answer | NoAnswer} failure */
function mayBeTaken(failure) {
  return failure instanceof NoAnswer || mayPass(failure);
}

/**
 * Whether a call is certain to have done nothing, and may do it yet.
 *
 * @param {Answer | NoAnswer} failure
 */
function wasNotTaken(failure) {
  if (failure instanceof NoAnswer) return failure.neverConnected;
  return failure.status === 429 || failure.status === 503;
}
